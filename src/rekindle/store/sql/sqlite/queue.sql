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

-- name: highest_attempt
-- The highest attempt id that was ever used, deleted ones included.
SELECT coalesce(max(id), 0) FROM (
    SELECT max(id) AS id FROM attempt
    UNION ALL
    SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_attempt'
) AS used;
