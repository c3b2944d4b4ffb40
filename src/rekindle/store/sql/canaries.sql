-- Canary groups, their canaries, and the jobs that wait for them.

-- name: failed
-- Failed jobs with their live attempts; the columns of rekindle.domain.batches.canaries.FailedJob, by name.
SELECT job.id AS job, job.name, job.workflow, job.template, attempt.id AS attempt, attempt.host,
    signature.digest AS signature, signature.type, signature.message
FROM job JOIN attempt ON attempt.id = job.attempt JOIN signature ON signature.id = attempt.signature
WHERE job.id IN @jobs AND job.state = 5 AND job.retired = 0 ORDER BY job.id;

-- name: insert_group
-- A group whose canaries run again.
INSERT INTO canary_group (rerun, workflow, signature, how)
VALUES (:rerun, :workflow, (SELECT id FROM signature WHERE digest = :signature), :how) RETURNING id;

-- name: stop_waiting
-- Take waiting jobs out of their groups.
UPDATE canary SET role = 'left' WHERE job IN @jobs AND role = 'waits';

-- name: insert_canary
-- A job of a group.
-- row: canary_group, role, job, attempt
INSERT INTO canary (canary_group, role, job, attempt) VALUES (:canary_group, :role, :job, :attempt);

-- name: moved
-- The waiting jobs of a group that have changed since the group was chosen.
SELECT job.name FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group = :canary_group AND canary.role = 'waits'
    AND (coalesce(job.attempt, 0) <> coalesce(canary.attempt, 0) OR job.state <> 5 OR job.retired = 1)
ORDER BY job.id;

-- name: waiting
-- The waiting jobs of a group: their failed attempts are still live.
SELECT job.id FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group = :canary_group AND canary.role = 'waits' AND job.attempt = canary.attempt
    AND job.retired = 0 ORDER BY job.id;

-- name: how
-- How to rerun the waiting jobs of a group.
SELECT how FROM canary_group WHERE id = :canary_group;

-- name: group_columns
-- A group without its jobs.
canary_group.id, canary_group.rerun, canary_group.workflow, signature.digest, signature.type, signature.message,
canary_group.outcome, canary_group.why, canary_group.released, canary_group.ended;

-- name: open
-- Undecided groups.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.outcome IS NULL ORDER BY canary_group.id;

-- name: of_rerun
-- The groups whose canaries a rerun ran.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.rerun = :rerun ORDER BY canary_group.id;

-- name: of_workflow
-- The groups of a workflow that are undecided or stopped.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.workflow = :workflow AND (canary_group.outcome IS NULL OR canary_group.outcome = 'stopped')
ORDER BY canary_group.id;

-- name: decided
-- The groups that were decided since.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.ended >= :since AND (CAST(:workflow AS BIGINT) IS NULL OR canary_group.workflow = :workflow)
ORDER BY canary_group.id;

-- name: of_jobs
-- The groups in which jobs wait, or would wait if the groups had not been stopped.
SELECT job.id, canary.canary_group
FROM canary JOIN job ON job.id = canary.job JOIN canary_group ON canary_group.id = canary.canary_group
WHERE canary.job IN @jobs AND canary.role = 'waits' AND job.attempt = canary.attempt AND job.retired = 0
    AND (canary_group.outcome IS NULL OR canary_group.outcome = 'stopped');

-- name: groups
-- Groups by id.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.id IN @groups ORDER BY canary_group.id;

-- name: canaries
-- The canaries of groups, as they are now.
SELECT canary.canary_group, job.id, job.name, job.state, job.held, job.retired, signature.digest
FROM canary JOIN job ON job.id = canary.job LEFT JOIN attempt ON attempt.id = job.attempt
    LEFT JOIN signature ON signature.id = attempt.signature
WHERE canary.canary_group IN @groups AND canary.role = 'canary' ORDER BY job.id;

-- name: count_waiting
-- The number of jobs of groups that still wait.
SELECT canary.canary_group, count(*) FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group IN @groups AND canary.role = 'waits' AND job.attempt = canary.attempt AND job.retired = 0
GROUP BY canary.canary_group;

-- name: decide
-- The outcome of a group.
UPDATE canary_group SET outcome = :outcome, why = :why, released = :released, ended = :now
WHERE id = :canary_group AND outcome IS NULL;

-- name: drop
-- The rerun of the canaries was undone.
UPDATE canary_group SET outcome = 'dropped', ended = :now
WHERE rerun = :rerun AND (outcome IS NULL OR outcome = 'stopped');
