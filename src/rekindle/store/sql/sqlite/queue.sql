-- Claims and outcomes: the statements that PostgreSQL needs in another form.

-- name: ready
-- The first ready jobs of each resource class, or of one. A pinned job takes its definition from the attempt that it is
-- pinned to, and its resources from the latest definition.
{classes} SELECT job.id, job.workflow, job.name, coalesce(pinned.template, job.template) AS template,
    coalesce(pinned.revision, workflow.revision) AS revision, coalesce(pinned.binding, job.binding) AS binding,
    job.attempts, job.priority, job.resource_class, job.next_attempt, job.template AS latest,
    pinned.binding AS own_binding
FROM class JOIN job ON job.id IN (SELECT job.id FROM job {claimable} LIMIT :limit)
JOIN workflow ON workflow.id = job.workflow LEFT JOIN attempt AS pinned ON pinned.id = job.pinned_to
ORDER BY job.priority DESC, job.id;

-- name: attempt_ids
-- Ids for new attempts. They were never used, deleted attempts included.
WITH RECURSIVE free (id, n) AS (
    SELECT 1 + ({highest_attempt}), 1
    UNION ALL
    SELECT id + 1, n + 1 FROM free WHERE n < :count
)
SELECT id FROM free;
