-- The rows of one workflow, for a bundle. `{table}`, `{names}`, `{key}` and `{scope}` are filled in.

-- name: rows_of
-- The rows of a table that belong to the workflow, in order.
SELECT {names} FROM {table} WHERE {scope} ORDER BY {key};

-- name: highest_id
-- The highest id of a table.
SELECT coalesce(max(id), 0) FROM {table};

-- name: shared_row
-- The row with these values: a column that identifies it.
SELECT {names} FROM {table} WHERE {scope};

-- name: own_jobs
-- The jobs of the workflow.
(SELECT id FROM job WHERE workflow = :workflow);

-- name: own_attempts
-- The attempts of the workflow.
(SELECT id FROM attempt WHERE workflow = :workflow);

-- name: is_workflow
-- The workflow itself.
id = :workflow;

-- name: in_workflow
-- Rows that name the workflow.
workflow = :workflow;

-- name: of_attempts
-- Rows of its attempts.
attempt IN {own_attempts};

-- name: of_jobs
-- Rows of its jobs.
job IN {own_jobs};

-- name: of_parents
-- The edges between its jobs.
parent IN {own_jobs};

-- name: of_classes
-- The resource classes that its jobs and templates name.
id IN (
    SELECT resource_class FROM job WHERE workflow = :workflow
    UNION SELECT resource_class FROM template WHERE workflow = :workflow
);

-- name: of_signatures
-- The signatures of its failures.
id IN (
    SELECT signature FROM attempt WHERE workflow = :workflow
    UNION SELECT signature FROM canary_group WHERE workflow = :workflow
);

-- name: of_sources
-- The code that its attempts used.
digest IN (SELECT code FROM attempt WHERE workflow = :workflow);

-- name: of_prunes
-- The prunes of its attempts.
id IN (SELECT pruned_by FROM attempt WHERE workflow = :workflow);

-- name: of_runners
-- The runners of its attempts.
id IN (SELECT runner FROM attempt WHERE workflow = :workflow);

-- name: of_reruns
-- The reruns of its jobs, and those of its revisions.
id IN (
    SELECT rerun FROM rerun_job WHERE job IN {own_jobs}
    UNION SELECT rerun FROM revision WHERE workflow = :workflow
    UNION SELECT rerun FROM canary_group WHERE workflow = :workflow
);

-- name: of_changes
-- The changes of its jobs by reruns.
(rerun, number) IN (SELECT rerun, change FROM rerun_job WHERE job IN {own_jobs});

-- name: of_groups
-- The jobs of its canary groups.
canary_group IN (SELECT id FROM canary_group WHERE workflow = :workflow);

-- name: newest_time
-- The newest time in the history of the workflow.
SELECT max(at) FROM (
    SELECT max(submitted) AS at FROM revision WHERE workflow = :workflow
    UNION ALL SELECT max(queued) FROM attempt WHERE workflow = :workflow
    UNION ALL SELECT max(started) FROM attempt WHERE workflow = :workflow
    UNION ALL SELECT max(ended) FROM attempt WHERE workflow = :workflow
    UNION ALL SELECT max(at) FROM event WHERE workflow = :workflow
) AS times;
