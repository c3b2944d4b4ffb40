-- Blocks of jobs that were found current.

-- name: job_ids
-- The lowest and the highest id of a workflow's jobs.
SELECT min(id) AS lowest, max(id) AS highest FROM job WHERE workflow = :workflow;

-- name: blocks
-- For each block of consecutive ids: how many jobs it has, the sum of their versions and of their live attempts, and
-- whether any may start once its parents have finished. Read in the order of ids (`+`), not by the index of names.
SELECT id / :size AS block, count(*) AS jobs, CAST(sum(version) AS BIGINT) AS versions,
    CAST(sum(coalesce(attempt, 0)) AS BIGINT) AS attempts, max(when_finished) AS when_finished
FROM job WHERE id BETWEEN :lowest AND :highest AND +workflow = :workflow GROUP BY id / :size ORDER BY id / :size;

-- name: ended
-- Live attempts that have ended, of the jobs of a workflow in a range of ids that are not retired.
SELECT job.id, attempt.id AS attempt, job.version FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id BETWEEN :lowest AND :highest AND +job.workflow = :workflow AND job.retired = 0 AND attempt.state >= 4;

-- name: found
-- What was found of a workflow's blocks.
SELECT block, basis, document FROM assessment WHERE workflow = :workflow;

-- name: put
-- What was found of a block; what was found earlier is replaced.
-- distinct row: workflow, block, basis, document
INSERT INTO assessment (workflow, block, basis, document) VALUES (:workflow, :block, :basis, :document)
ON CONFLICT (workflow, block) DO UPDATE SET basis = excluded.basis, document = excluded.document;
