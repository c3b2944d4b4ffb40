-- Attempts, their steps and failures.

-- name: attempt_columns
-- Every column of an attempt, with the digest of its signature.
attempt.id, attempt.job, attempt.workflow, attempt.number, attempt.token, attempt.state, attempt.revision,
attempt.template, attempt.cause, attempt.exit_code, attempt.signal, attempt.error_type, attempt.error_message,
attempt.error_traceback, attempt.error_stderr, signature.digest, attempt.host, attempt.pid, attempt.pid_start,
attempt.worker, attempt.runner, attempt.folder, attempt.queued, attempt.started, attempt.ended, attempt.cpu_seconds,
attempt.max_rss_bytes, attempt.result, attempt.verdict, attempt.builds_on, attempt.start_step, attempt.overrides,
attempt.partial, attempt.archived_by, attempt.binding, attempt.code, attempt.pinned_to, attempt.evidence,
attempt.verdict_message, attempt.shared, attempt.left_running, attempt.pruned_by, attempt.completed_by,
attempt.undecided, attempt.reused_from, CASE WHEN attempt.reused_from > 0 THEN (
    SELECT workflow.name FROM attempt AS source JOIN workflow ON workflow.id = source.workflow
    WHERE source.id = attempt.reused_from AND source.workflow <> attempt.workflow
) END AS reused_workflow;

-- name: step_columns
-- Every column of a step; its attempt comes first.
step.attempt, step.position, step.name, step.state, step.cause, step.exit_code, step.signal, step.started, step.ended,
step.result, step.kept_from, step.action, step.verdict, step.verdict_message;

-- name: attempts_of_all
-- Every attempt, oldest first; with `live`, only those that no rerun has archived.
SELECT {attempt_columns} FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE (:live = 0 OR attempt.archived_by IS NULL) ORDER BY attempt.id;

-- name: steps_of_all
-- Their steps.
SELECT {step_columns} FROM attempt JOIN step ON step.attempt = attempt.id
WHERE (:live = 0 OR attempt.archived_by IS NULL) ORDER BY step.attempt, step.position;

-- name: attempts_of_workflow
-- The attempts of a workflow, oldest first.
SELECT {attempt_columns}
FROM job JOIN attempt ON attempt.job = job.id LEFT JOIN signature ON signature.id = attempt.signature
WHERE job.workflow = :workflow AND (:live = 0 OR attempt.archived_by IS NULL) ORDER BY attempt.id;

-- name: steps_of_workflow
-- Their steps.
SELECT {step_columns}
FROM job JOIN attempt ON attempt.job = job.id JOIN step ON step.attempt = attempt.id
WHERE job.workflow = :workflow AND (:live = 0 OR attempt.archived_by IS NULL) ORDER BY step.attempt, step.position;

-- name: attempts_of_jobs
-- The attempts of some jobs, oldest first.
SELECT {attempt_columns} FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.job IN @jobs AND (:live = 0 OR attempt.archived_by IS NULL) ORDER BY attempt.id;

-- name: steps_of_jobs
-- Their steps.
SELECT {step_columns} FROM attempt JOIN step ON step.attempt = attempt.id
WHERE attempt.job IN @jobs AND (:live = 0 OR attempt.archived_by IS NULL) ORDER BY step.attempt, step.position;

-- name: attempts_page
-- A page of the attempts of all jobs, oldest first, each with its job's name.
SELECT job.name, {attempt_columns}
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN signature ON signature.id = attempt.signature
WHERE (:live = 0 OR attempt.archived_by IS NULL) ORDER BY attempt.id LIMIT :limit OFFSET :offset;

-- name: attempts_page_of_jobs
-- The same for the jobs of a query.
SELECT job.name, {attempt_columns}
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.job IN ({jobs}) AND (:live = 0 OR attempt.archived_by IS NULL)
ORDER BY attempt.id LIMIT :limit OFFSET :offset;

-- name: count_attempts
-- The number of attempts.
SELECT count(*) FROM attempt;

-- name: count_live_attempts
-- The number of attempts that no rerun has archived.
SELECT count(*) FROM attempt WHERE archived_by IS NULL;

-- name: count_attempts_of_jobs
-- The number of attempts of the jobs of a query.
SELECT count(*) FROM attempt WHERE attempt.job IN ({jobs}) AND (:live = 0 OR attempt.archived_by IS NULL);

-- name: live_of_jobs
-- The live attempts of jobs.
SELECT {attempt_columns}
FROM job JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE job.id IN @jobs;

-- name: recovering
-- The jobs of a workflow that wait to resume an attempt because it was lost or cut off, and these attempts.
SELECT job.id, attempt.id FROM job
    JOIN attempt ON attempt.id = CAST(json_extract(job.next_attempt, '$.resume_attempt') AS BIGINT)
    JOIN rerun ON rerun.id = attempt.archived_by
WHERE job.workflow = :workflow AND job.state IN (0, 1) AND job.attempt IS NULL AND job.attempts > 0
    AND job.next_attempt IS NOT NULL AND rerun.kind = 'recovery';

-- name: interrupted
-- The jobs of a workflow whose live attempt was lost, or was canceled without a request.
SELECT job.id FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.workflow = :workflow AND (job.state = 5 OR job.state = 6) AND job.retired = 0
    AND (attempt.cause = 'lost' OR (attempt.state = 6 AND attempt.cancel = 0))
ORDER BY job.id;

-- name: blocking
-- Ready jobs that must not start yet, each with an archived attempt that has to end first.
WITH RECURSIVE blocked (job, attempt) AS (
    SELECT job, id FROM attempt WHERE archived_by IS NOT NULL AND state IN (2, 3)
    UNION
    SELECT job.id, blocked.attempt
    FROM blocked JOIN edge ON edge.child = blocked.job JOIN job ON job.id = edge.parent
    WHERE job.state <> 4
)
SELECT blocked.job, blocked.attempt FROM blocked JOIN job ON job.id = blocked.job
WHERE (job.id IN @jobs OR :jobs IS NULL) AND job.state = 1 ORDER BY blocked.job, blocked.attempt;

-- name: previous
-- How the attempts before the newest of these jobs ended.
SELECT job, number, state, cause, error_type, error_message, error_traceback, error_stderr FROM attempt
WHERE job IN @jobs AND number = (SELECT max(newest.number) - 1 FROM attempt AS newest WHERE newest.job = attempt.job);

-- name: attempts_by_id
-- Attempts by id.
SELECT {attempt_columns} FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.id IN @attempts ORDER BY attempt.id;

-- name: steps_of_attempts
-- The steps of attempts.
SELECT {step_columns} FROM step WHERE step.attempt IN @attempts ORDER BY step.attempt, step.position;

-- name: active
-- Attempts that have not ended. (Without `+`, SQLite reads all attempts in the order of their ids instead of the partial
-- index of these.)
SELECT {attempt_columns} FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.state IN (2, 3) ORDER BY +attempt.id;

-- name: active_of_runner
-- A runner's attempts that have not ended.
SELECT {attempt_columns} FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.state IN (2, 3) AND attempt.runner = :runner ORDER BY attempt.id;

-- name: want_cancel
-- Request the cancellation of attempts.
UPDATE attempt SET cancel = 1 WHERE id IN @attempts AND state IN (2, 3);

-- name: wanted_cancel
-- A runner's attempts that are to be canceled.
SELECT id, token FROM attempt WHERE state IN (2, 3) AND runner = :runner AND cancel = 1 ORDER BY id;

-- name: failure_columns
-- Failed attempts of one signature on one host: how many, when the first and last ended, the newest one, their jobs.
signature.digest, signature.cause, signature.type, signature.message, failure.host, failure.n, failure.first,
failure.last, failure.newest, failure.jobs;

-- name: failure_counts
-- The same by the number of the signature.
attempt.signature, attempt.host, count(*) AS n, min(attempt.ended) AS first, max(attempt.ended) AS last,
max(attempt.id) AS newest, json_group_array(attempt.job) AS jobs;

-- name: failures
-- Failed attempts by signature and host: live ones of workflows and jobs that are current, or with `archived` all.
SELECT {failure_columns} FROM (
    SELECT {failure_counts}
    FROM workflow CROSS JOIN attempt JOIN job ON job.id = attempt.job  -- in this order: by the covering index
    WHERE attempt.workflow = workflow.id AND attempt.signature IS NOT NULL
        AND (:archived = 1 OR (workflow.archived IS NULL AND attempt.archived_by IS NULL AND job.retired = 0))
    GROUP BY attempt.signature, attempt.host
) AS failure JOIN signature ON signature.id = failure.signature ORDER BY signature.id, failure.host;

-- name: failures_of_workflow
-- The same for one workflow.
SELECT {failure_columns} FROM (
    SELECT {failure_counts}
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE attempt.workflow = :workflow AND attempt.signature IS NOT NULL
        AND (:archived = 1 OR (attempt.archived_by IS NULL AND job.retired = 0))
    GROUP BY attempt.signature, attempt.host
) AS failure JOIN signature ON signature.id = failure.signature ORDER BY signature.id, failure.host;

-- name: messages
-- The error texts of attempts.
SELECT id, job, cause, error_type, error_message, error_traceback, error_stderr FROM attempt WHERE id IN @attempts;

-- name: failed_in_quarantine
-- The failed jobs of a workflow whose templates have a quarantine.
SELECT template, id FROM job
WHERE workflow = :workflow AND (state = 5 OR state = 6) AND state = 5 AND retired = 0
    AND template IN (SELECT id FROM template WHERE workflow = :workflow AND body LIKE :pattern)
ORDER BY template, id;

-- name: signatures
-- Signatures with a prefix: at most eleven, one more than an error lists.
SELECT digest FROM signature WHERE digest >= :prefix AND digest < :beyond ORDER BY digest LIMIT 11;
