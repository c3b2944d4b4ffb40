-- What an inspection of a store reads.

-- name: only_read
-- Refuse writes on this connection.
PRAGMA query_only = ON;

-- name: workflows
-- The number of workflows.
SELECT count(*) FROM workflow;

-- name: jobs
-- The number of jobs.
SELECT count(*) FROM job;

-- name: attempts
-- The number of attempts.
SELECT count(*) FROM attempt;

-- name: journals
-- All journals: path, bytes ingested, whether complete, and the byte from which damage was recorded.
SELECT path, position, closed, damaged FROM journal ORDER BY worker;

-- name: folders
-- The folders of earlier attempts that jobs continue in.
SELECT id, name, folder FROM job WHERE folder IS NOT NULL AND retired = 0 ORDER BY id;

-- name: resumable
-- The attempts that a rerun may continue from: live ones that have not completed, and those that next attempts build on.
SELECT id, job FROM attempt WHERE archived_by IS NULL AND state <> 4
UNION SELECT resume_attempt, id FROM job WHERE resume_attempt IS NOT NULL AND state IN (0, 1) AND retired = 0 ORDER BY 1;

-- name: saved
-- The outputs that reruns in force have saved.
SELECT rerun_job.rerun, rerun_job.saved FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
WHERE rerun_job.saved IS NOT NULL AND rerun.undone IS NULL ORDER BY rerun_job.rerun, rerun_job.job;
