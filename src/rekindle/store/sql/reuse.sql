-- Ready jobs with a reuse candidate. 1 READY.

-- name: candidate_columns
-- The columns of rekindle.domain.models.ReuseCandidate, by name.
job.id, job.workflow, job.name, job.resource_class, job.version, job.reuse_candidate;

-- name: with_candidate
-- Ready jobs with a reuse candidate, by the partial index of such jobs.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reuse_candidate IS NOT NULL
    AND workflow.archived IS NULL
ORDER BY job.workflow, job.id LIMIT :limit;

-- name: with_candidate_of_one
-- The same for one workflow.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.workflow = :workflow AND job.state = 1 AND job.held IS NULL AND job.retired = 0
    AND job.reuse_candidate IS NOT NULL AND workflow.archived IS NULL
ORDER BY job.id LIMIT :limit;

-- name: still_with_candidate
-- Those jobs that are still ready with a candidate.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.id IN @jobs AND job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reuse_candidate IS NOT NULL
    AND workflow.archived IS NULL;

-- name: reuse_candidate
-- The candidate becomes the live attempt.
-- row: attempt, job
UPDATE job SET attempt = :attempt, next_attempt = nullif(json_remove(next_attempt, '$.reuse_candidate'), '{}')
WHERE id = :job AND reuse_candidate = :attempt AND attempt IS NULL;

-- name: unarchive_attempts
-- Attempts that are live again.
UPDATE attempt SET archived_by = NULL WHERE id IN @attempts AND archived_by IS NOT NULL;

-- name: reject_candidates
-- Drop the candidates of jobs, which may then be claimed.
UPDATE job SET next_attempt = nullif(json_remove(next_attempt, '$.reuse_candidate'), '{}'), version = version + 1
WHERE id IN @jobs AND reuse_candidate IS NOT NULL;
