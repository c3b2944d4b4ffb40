-- What revisions were, and what they did.

-- name: set_earlier
-- How jobs and edges were before a revision.
UPDATE revision SET earlier = :earlier WHERE workflow = :workflow AND number = :number;

-- name: earlier
-- How it was before each revision after this one, the latest first.
SELECT number, earlier FROM revision WHERE workflow = :workflow AND number > :number ORDER BY number DESC;

-- name: revisions
-- The revisions of a workflow, oldest first.
SELECT number, submitted, source_digest, rerun FROM revision WHERE workflow = :workflow ORDER BY number;

-- name: params
-- The parameters of a revision.
SELECT params FROM revision WHERE workflow = :workflow AND number = :revision;

-- name: jobs
-- The jobs that revisions have brought, retired ones too.
SELECT id, name, template, binding, retired FROM job WHERE workflow = :workflow AND added_by IS NULL ORDER BY id;

-- name: edges
-- The edges that the latest revision has brought.
SELECT edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id
WHERE job.workflow = :workflow AND edge.added_by IS NULL;

-- name: template_bodies
-- Templates by id.
SELECT id, body FROM template WHERE id IN @templates;

-- name: standing
-- How jobs stand.
SELECT id, name, state, unmet FROM job WHERE id IN @jobs ORDER BY id;
