-- Groups of which a part runs first, and what waits for it.

-- name: struck
-- Those of some jobs that have failed, by their live attempts, in the order of rekindle.domain.batches.canaries.Struck.
SELECT job.id, job.name, job.workflow, job.template, attempt.id, attempt.host, signature.digest, signature.type,
    signature.message
FROM job JOIN attempt ON attempt.id = job.attempt JOIN signature ON signature.id = attempt.signature
WHERE job.id IN @jobs AND job.state = 5 AND job.retired = 0 ORDER BY job.id;

-- name: insert_group
-- A group whose canaries run again.
INSERT INTO canary_group (rerun, workflow, signature, how)
VALUES (:rerun, :workflow, (SELECT id FROM signature WHERE digest = :signature), :how);

-- name: leave
-- Jobs that wait for no canary any more.
UPDATE canary SET role = 'left' WHERE job IN @jobs AND role = 'waits';

-- name: insert_canary
-- A job of a group.
-- row: canary_group, role, job, attempt
INSERT INTO canary (canary_group, role, job, attempt) VALUES (:canary_group, :role, :job, :attempt);

-- name: moved
-- Those of a group's jobs that should wait and stand otherwise than was seen.
SELECT job.name FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group = :canary_group AND canary.role = 'waits'
    AND (job.attempt IS NOT canary.attempt OR job.state <> 5 OR job.retired = 1)
ORDER BY job.id;

-- name: waiting
-- The jobs of a group that wait: their attempts that failed are live still.
SELECT job.id FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group = :canary_group AND canary.role = 'waits' AND job.attempt = canary.attempt
    AND job.retired = 0 ORDER BY job.id;

-- name: how
-- How the rest of a group runs again.
SELECT how FROM canary_group WHERE id = :canary_group;

-- name: group_columns
-- A group without its jobs.
canary_group.id, canary_group.rerun, canary_group.workflow, signature.digest, signature.type, signature.message,
canary_group.outcome, canary_group.why, canary_group.released, canary_group.ended;

-- name: open
-- Groups of which nothing is decided.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.outcome IS NULL ORDER BY canary_group.id;

-- name: of_rerun
-- The groups whose canaries a rerun ran.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.rerun = :rerun ORDER BY canary_group.id;

-- name: of_workflow
-- A workflow's groups of which something is to be told: not decided, or stopped.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.workflow = :workflow AND (canary_group.outcome IS NULL OR canary_group.outcome = 'stopped')
ORDER BY canary_group.id;

-- name: decided
-- The groups that were decided since.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.ended >= :since AND (:workflow IS NULL OR canary_group.workflow = :workflow)
ORDER BY canary_group.id;

-- name: of_jobs
-- Which jobs wait in which group, or would if it had not been stopped.
SELECT job.id, canary.canary_group
FROM canary JOIN job ON job.id = canary.job JOIN canary_group ON canary_group.id = canary.canary_group
WHERE canary.job IN @jobs AND canary.role = 'waits' AND job.attempt = canary.attempt AND job.retired = 0
    AND (canary_group.outcome IS NULL OR canary_group.outcome = 'stopped');

-- name: groups
-- Groups by id.
SELECT {group_columns} FROM canary_group JOIN signature ON signature.id = canary_group.signature
WHERE canary_group.id IN @groups ORDER BY canary_group.id;

-- name: canaries
-- The canaries of groups as they stand.
SELECT canary.canary_group, job.id, job.name, job.state, job.held, job.retired, signature.digest
FROM canary JOIN job ON job.id = canary.job LEFT JOIN attempt ON attempt.id = job.attempt
    LEFT JOIN signature ON signature.id = attempt.signature
WHERE canary.canary_group IN @groups AND canary.role = 'canary' ORDER BY job.id;

-- name: how_many_wait
-- How many jobs of groups stand as they stood.
SELECT canary.canary_group, count(*) FROM canary JOIN job ON job.id = canary.job
WHERE canary.canary_group IN @groups AND canary.role = 'waits' AND job.attempt = canary.attempt AND job.retired = 0
GROUP BY canary.canary_group;

-- name: decide
-- What became of a group.
UPDATE canary_group SET outcome = :outcome, why = :why, released = :released, ended = :now
WHERE id = :canary_group AND outcome IS NULL;

-- name: drop
-- The rerun of the canaries was undone.
UPDATE canary_group SET outcome = 'dropped', ended = :now
WHERE rerun = :rerun AND (outcome IS NULL OR outcome = 'stopped');
