-- Events: one row for each batch or operation.

-- name: insert_event
-- An event.
INSERT INTO event (at, kind, workflow, detail) VALUES (:at, :kind, :workflow, :detail);

-- name: cancels
-- The cancellations of jobs, oldest first, with their notes.
SELECT CAST(each.value AS BIGINT), json_extract(event.detail, '$.note') FROM event, json_each(event.detail, '$.first') AS each
WHERE event.kind = 'canceled' AND CAST(each.value AS BIGINT) IN @jobs ORDER BY event.id;

-- name: newest_event
-- The id of the event with this number of newer ones.
SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET :newer;

-- name: newest_event_of_workflow
-- The same for one workflow.
SELECT id FROM event WHERE workflow = :workflow ORDER BY id DESC LIMIT 1 OFFSET :newer;

-- name: events
-- Events from one id to another, oldest first.
SELECT id, at, kind, workflow, detail FROM event WHERE id BETWEEN :first AND :last ORDER BY id;

-- name: events_of_workflow
-- The same for one workflow.
SELECT id, at, kind, workflow, detail FROM event WHERE workflow = :workflow AND id BETWEEN :first AND :last ORDER BY id;

-- name: events_of_kind
-- The events of a kind, oldest first.
SELECT id, at, kind, workflow, detail FROM event WHERE kind = :kind ORDER BY id;

-- name: count_events
-- The number of events.
SELECT count(*) FROM event;

-- name: count_events_of_workflow
-- The number of events of a workflow.
SELECT count(*) FROM event WHERE workflow = :workflow;
