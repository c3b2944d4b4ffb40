-- Supervising: who does it, what was asked, what it has run again, and how a batch stands at rest.

-- name: supervision_columns
-- Everything about one, in the order of rekindle.domain.batches.supervising.Supervision, the place in its six parts.
id, workflow, asked, began, host, boot_id, pid, pid_start, pid_space, store_file, outcome, report, ended;

-- name: standing
-- The one of a workflow that has not ended.
SELECT {supervision_columns} FROM supervision WHERE workflow = :workflow AND ended IS NULL;

-- name: supervision
-- One of them.
SELECT {supervision_columns} FROM supervision WHERE id = :id;

-- name: begin
-- Supervising begins.
INSERT INTO supervision (workflow, asked, began, host, boot_id, pid, pid_start, pid_space, store_file)
VALUES (:workflow, :asked, :began, :host, :boot_id, :pid, :pid_start, :pid_space, :store_file);

-- name: take
-- Another process goes on.
UPDATE supervision SET host = :host, boot_id = :boot_id, pid = :pid, pid_start = :pid_start, pid_space = :pid_space,
    store_file = :store_file
WHERE id = :id AND ended IS NULL;

-- name: is_of
-- Whether a process still has it.
SELECT 1 FROM supervision WHERE id = :id AND ended IS NULL AND boot_id = :boot_id AND pid = :pid
    AND pid_start = :pid_start AND pid_space = :pid_space AND (store_file IS NULL OR store_file = :store_file);

-- name: conclude
-- How it ends, not told yet.
UPDATE supervision SET outcome = :outcome, report = :report WHERE id = :id AND ended IS NULL;

-- name: close
-- Its end has been told.
UPDATE supervision SET ended = :now WHERE id = :id AND ended IS NULL;

-- name: reruns
-- What it has run again, oldest first; taken back or not.
SELECT id, request FROM rerun
WHERE kind = 'supervise' AND (SELECT value FROM json_each(rerun.request) WHERE key = 'supervision') = :id ORDER BY id;

-- name: taken
-- What a workflow's attempts took, from one on.
SELECT count(*), coalesce(sum(max(0.0, attempt.ended - attempt.started) * resource_class.cpus), 0.0)
FROM attempt JOIN job ON job.id = attempt.job JOIN resource_class ON resource_class.id = job.resource_class
WHERE attempt.id >= :first AND attempt.workflow = :workflow;

-- name: batch
-- A workflow's jobs with what their live attempts came to, in the order of rekindle.domain.batches.supervising.Member.
SELECT job.id, job.name, job.state, job.template, job.binding, job.held IS NOT NULL, job.attempts, attempt.cause,
    attempt.host, signature.digest, attempt.verdict
FROM job LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE job.workflow = :workflow AND job.retired = 0 ORDER BY job.id;
