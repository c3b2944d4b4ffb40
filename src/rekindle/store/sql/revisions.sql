-- Earlier revisions.

-- name: set_delta
-- The delta from a revision back to the one before it.
UPDATE revision SET earlier = :earlier WHERE workflow = :workflow AND number = :number;

-- name: deltas
-- The deltas of the revisions after this one, latest first.
SELECT number, earlier FROM revision WHERE workflow = :workflow AND number > :number ORDER BY number DESC;

-- name: jobs
-- The jobs of all revisions, retired ones included.
SELECT id, name, template, binding, retired FROM job WHERE workflow = :workflow AND added_by IS NULL ORDER BY id;

-- name: templates
-- Templates by id.
SELECT id, body FROM template WHERE id IN @templates;

