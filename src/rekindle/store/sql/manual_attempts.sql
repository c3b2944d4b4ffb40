-- Attempts that a person recorded: nothing was executed.

-- name: insert_attempt
-- A recorded attempt of a job, with the job's current definition, before its end is written.
-- row: id, job, token, folder, queued, completed_by
INSERT INTO attempt (id, job, workflow, number, token, state, revision, template, folder, queued, start_step, overrides,
    completed_by)
SELECT CAST(:id AS BIGINT), job.id, job.workflow, job.attempts + 1, CAST(:token AS TEXT), 2, workflow.revision,
    job.template, CAST(:folder AS TEXT), CAST(:queued AS DOUBLE PRECISION), 0, job.overrides,
    CAST(:completed_by AS BIGINT)
FROM job JOIN workflow ON workflow.id = job.workflow WHERE job.id = :job;

-- name: set_live
-- A recorded attempt becomes the live one of its job.
-- row: attempt, job
UPDATE job SET attempts = attempts + 1, attempt = :attempt, version = version + 1 WHERE id = :job AND attempt IS NULL;

-- name: children
-- The jobs that need some of these.
SELECT DISTINCT child FROM edge WHERE parent IN @jobs;

-- name: of_jobs
-- The reruns that recorded the live attempts of jobs.
SELECT attempt.job, attempt.completed_by FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs AND attempt.completed_by IS NOT NULL;

-- name: count_ready
-- How many of these jobs are ready to run.
SELECT count(*) FROM job WHERE id IN @jobs AND state = 1 AND held IS NULL AND retired = 0;
