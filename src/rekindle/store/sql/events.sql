-- Events: one row for each batch or operation.

-- name: insert_event
-- An event.
INSERT INTO event (at, kind, workflow, detail) VALUES (:at, :kind, :workflow, :detail);

-- name: cancels
-- The cancellations of jobs, oldest first, with their notes.
SELECT CAST(each.value AS BIGINT), json_extract(event.detail, '$.note') FROM event, json_each(event.detail, '$.first') AS each
WHERE event.kind = 'canceled' AND CAST(each.value AS BIGINT) IN @jobs ORDER BY event.id;

-- name: events
-- The newest events above an id, newest first.
SELECT id, at, kind, workflow, detail FROM event WHERE id > :after ORDER BY id DESC LIMIT :limit OFFSET :offset;

-- name: events_of_workflow
-- The newest events of a workflow above an id, newest first.
SELECT id, at, kind, workflow, detail FROM event WHERE workflow = :workflow AND id > :after
ORDER BY id DESC LIMIT :limit OFFSET :offset;

-- name: events_of_kind
-- The events of a kind, oldest first.
SELECT id, at, kind, workflow, detail FROM event WHERE kind = :kind ORDER BY id;

-- name: count_events
-- The number of events.
SELECT count(*) FROM event;

-- name: count_events_of_workflow
-- The number of events of a workflow.
SELECT count(*) FROM event WHERE workflow = :workflow;
