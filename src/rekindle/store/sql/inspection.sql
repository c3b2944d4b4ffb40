-- What an inspection of a store reads.

-- name: only_read
-- The connection writes nothing.
PRAGMA query_only = ON;

-- name: workflows
-- How many workflows there are.
SELECT count(*) FROM workflow;

-- name: jobs
-- How many jobs there are.
SELECT count(*) FROM job;

-- name: attempts
-- How many attempts there are.
SELECT count(*) FROM attempt;

-- name: journals
-- All journals: where they are, how much was read, whether all was, and the byte from which damage is known.
SELECT path, position, closed, damaged FROM journal ORDER BY worker;

-- name: folders
-- The earlier attempts' folders from which the next attempts of jobs start.
SELECT id, name, folder FROM job WHERE folder IS NOT NULL AND retired = 0 ORDER BY id;

-- name: resumable
-- The attempts that a rerun may go on from: the live ones that have not completed, and those that the next attempts build on.
SELECT id, job FROM attempt WHERE archived_by IS NULL AND state <> 4
UNION SELECT resume_attempt, id FROM job WHERE resume_attempt IS NOT NULL AND state IN (0, 1) AND retired = 0 ORDER BY 1;

-- name: saved
-- The outputs that reruns which stand have saved.
SELECT rerun_job.rerun, rerun_job.saved FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
WHERE rerun_job.saved IS NOT NULL AND rerun.undone IS NULL ORDER BY rerun_job.rerun, rerun_job.job;
