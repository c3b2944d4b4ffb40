-- Attempts imported from another system, which had ended before.

-- name: insert_runner
-- An ended runner of imported attempts. Nothing is known of its process.
INSERT INTO runner (host, boot_id, pid, pid_start, pid_space, executor, slots, epoch, started, expires, ended, label)
VALUES (:host, '', 0, 0, 0, 'elsewhere', 1, 1, :started, :ended, :ended, :label)
RETURNING id;

-- name: insert_attempt
-- An imported attempt before its end is written.
-- row: id, job, number, token, folder, queued, builds_on, start_step, runner
INSERT INTO attempt (id, job, workflow, number, token, state, revision, template, folder, queued, builds_on, start_step,
    runner)
SELECT CAST(:id AS BIGINT), job.id, job.workflow, CAST(:number AS BIGINT), CAST(:token AS TEXT), 2, workflow.revision,
    job.template, CAST(:folder AS TEXT), CAST(:queued AS DOUBLE PRECISION), CAST(:builds_on AS BIGINT),
    CAST(:start_step AS BIGINT), CAST(:runner AS BIGINT)
FROM job JOIN workflow ON workflow.id = job.workflow WHERE job.id = :job;

-- name: set_pointers
-- The pointers of a job that has never run here.
-- row: job, attempts, attempt, next_attempt
UPDATE job SET attempts = :attempts, attempt = :attempt, next_attempt = :next_attempt, version = version + 1
WHERE id = :job AND attempts = 0;

-- name: archive_attempts
-- Archive imported attempts that are not live.
UPDATE attempt SET archived_by = :rerun
WHERE id IN @attempts AND archived_by IS NULL
    AND id <> coalesce((SELECT job.attempt FROM job WHERE job.id = attempt.job), 0);
