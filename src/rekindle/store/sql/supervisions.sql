-- Supervisions: their owners, their reruns, and the jobs they supervise.

-- name: supervision_columns
-- Every column of a supervision.
id, workflow, asked, began, host, boot_id, pid, pid_start, pid_space, store_file, outcome, report, ended;

-- name: active
-- The supervision of a workflow that has not ended.
SELECT {supervision_columns} FROM supervision WHERE workflow = :workflow AND ended IS NULL;

-- name: supervision
-- One supervision.
SELECT {supervision_columns} FROM supervision WHERE id = :id;

-- name: listing
-- The newest supervisions: those that have not ended, then the others.
SELECT {supervision_columns} FROM supervision
ORDER BY CASE WHEN ended IS NULL THEN 0 ELSE 1 END, id DESC LIMIT :limit;

-- name: begin
-- A new supervision.
INSERT INTO supervision (id, workflow, asked, began, host, boot_id, pid, pid_start, pid_space, store_file)
VALUES ((SELECT coalesce(max(id), 0) + 1 FROM supervision), :workflow, :asked, :began, :host, :boot_id, :pid,
    :pid_start, :pid_space, :store_file)
RETURNING id;

-- name: take
-- Make another process the owner.
UPDATE supervision SET host = :host, boot_id = :boot_id, pid = :pid, pid_start = :pid_start, pid_space = :pid_space,
    store_file = :store_file
WHERE id = :id AND ended IS NULL;

-- name: is_of
-- Whether a process still owns a supervision.
SELECT 1 FROM supervision WHERE id = :id AND ended IS NULL AND boot_id = :boot_id AND pid = :pid
    AND pid_start = :pid_start AND pid_space = :pid_space AND (store_file IS NULL OR store_file = :store_file);

-- name: conclude
-- The outcome, which has not been reported yet.
UPDATE supervision SET outcome = :outcome, report = :report WHERE id = :id AND ended IS NULL;

-- name: close
-- The outcome has been reported.
UPDATE supervision SET ended = :now WHERE id = :id AND ended IS NULL;

-- name: reruns
-- The reruns that a supervision made, oldest first, undone ones included.
SELECT id, request FROM rerun
WHERE kind = 'supervise' AND CAST(json_extract(rerun.request, '$.supervision') AS BIGINT) = :id ORDER BY id;

-- name: usage
-- The number and core-seconds of a workflow's attempts from an id on.
SELECT count(*), coalesce(sum(CASE WHEN attempt.ended > attempt.started
    THEN (attempt.ended - attempt.started) * resource_class.cpus ELSE 0.0 END), 0.0)
FROM attempt JOIN job ON job.id = attempt.job JOIN resource_class ON resource_class.id = job.resource_class
WHERE attempt.id >= :first AND attempt.workflow = :workflow;

-- name: policy_retries
-- How many jobs of a workflow have run again as their policies say, since a time.
SELECT count(*) FROM rerun JOIN rerun_job ON rerun_job.rerun = rerun.id JOIN job ON job.id = rerun_job.job
WHERE rerun.kind = 'retry' AND rerun.at >= :since AND job.workflow = :workflow;

-- name: batch
-- The jobs of a workflow with the outcomes of their live attempts.
SELECT job.id, job.name, job.state, job.template, job.binding, job.held IS NOT NULL AS held, job.attempts, attempt.cause,
    attempt.host, signature.digest AS signature, attempt.verdict, attempt.undecided
FROM job LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE job.workflow = :workflow AND job.retired = 0 ORDER BY job.id;

-- name: needs
-- What the jobs of a workflow need; retired jobs are left out.
SELECT edge.parent, edge.child FROM edge JOIN job ON job.id = edge.child JOIN job AS needed ON needed.id = edge.parent
WHERE job.workflow = :workflow AND job.retired = 0 AND needed.retired = 0;

-- name: classes
-- The priority and processors of the jobs of a workflow.
SELECT job.id, job.priority, resource_class.cpus
FROM job JOIN resource_class ON resource_class.id = job.resource_class WHERE job.workflow = :workflow;

-- name: past_attempts
-- The attempts of a workflow that have ended, live and archived, in the order of each job; retired jobs are left out.
SELECT attempt.id, attempt.job, attempt.state, attempt.started, attempt.ended, attempt.verdict, attempt.cause,
    signature.digest AS signature, attempt.host, attempt.exit_code
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN signature ON signature.id = attempt.signature
WHERE job.workflow = :workflow AND job.retired = 0 AND attempt.state IN (4, 5, 6) ORDER BY attempt.job, attempt.number;
