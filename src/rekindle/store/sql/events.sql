-- What happened, one row a batch or operation.

-- name: insert_event
-- Something happened.
INSERT INTO event (at, kind, workflow, detail) VALUES (:at, :kind, :workflow, :detail);

-- name: cancels
-- The events by which jobs were canceled, oldest first, with their notes.
SELECT each.value, json_extract(event.detail, '$.note') FROM event, json_each(event.detail, '$.first') AS each
WHERE event.kind = 'canceled' AND each.value IN @jobs ORDER BY event.id;

-- name: events
-- The newest events after one, newest first.
SELECT id, at, kind, workflow, detail FROM event WHERE id > :after ORDER BY id DESC LIMIT :limit OFFSET :offset;

-- name: events_of_workflow
-- The newest events of a workflow after one, newest first.
SELECT id, at, kind, workflow, detail FROM event WHERE workflow = :workflow AND id > :after
ORDER BY id DESC LIMIT :limit OFFSET :offset;

-- name: count_events
-- How many events there are.
SELECT count(*) FROM event;

-- name: count_events_of_workflow
-- How many events of a workflow there are.
SELECT count(*) FROM event WHERE workflow = :workflow;
