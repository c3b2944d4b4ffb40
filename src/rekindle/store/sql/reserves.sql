-- Ready jobs with an attempt in reserve: looked at, and reinstated or run. 1 READY.

-- name: reserved_columns
-- What looking at a reserve needs to know, in the order of rekindle.domain.models.Reserved.
job.id, job.workflow, job.name, job.resource_class, job.version, job.reserve;

-- name: reserved
-- Ready jobs with an attempt in reserve, by the index that holds nothing else.
SELECT {reserved_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reserve IS NOT NULL
    AND workflow.archived IS NULL
ORDER BY job.workflow, job.id LIMIT :limit;

-- name: reserved_of_one
-- Those of a workflow.
SELECT {reserved_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.workflow = :workflow AND job.state = 1 AND job.held IS NULL AND job.retired = 0
    AND job.reserve IS NOT NULL AND workflow.archived IS NULL
ORDER BY job.id LIMIT :limit;

-- name: still_reserved
-- Those of some jobs that wait to be looked at.
SELECT {reserved_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.id IN @jobs AND job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reserve IS NOT NULL
    AND workflow.archived IS NULL;

-- name: reinstate_job
-- The attempt in reserve is live again.
-- row: attempt, job
UPDATE job SET attempt = :attempt, reserve = NULL WHERE id = :job AND reserve = :attempt AND attempt IS NULL;

-- name: unarchive_attempts
-- Attempts that are live again.
UPDATE attempt SET archived_by = NULL WHERE id IN @attempts AND archived_by IS NOT NULL;

-- name: drop_reserves
-- Jobs that are to run.
UPDATE job SET reserve = NULL, version = version + 1 WHERE id IN @jobs AND reserve IS NOT NULL;
