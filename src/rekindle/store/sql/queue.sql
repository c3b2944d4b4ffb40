-- Claims and outcomes. 0 WAITING, 1 READY, 2 QUEUED, 3 RUNNING, 4 COMPLETED, 5 FAILED, 6 CANCELED.

-- name: blocked
-- Jobs that must not start yet: those with an archived attempt that has not ended, and their ancestors that are not
-- done, which would change what that attempt reads. An ancestor that is done stays as it is, and so does what it needs.
(
    WITH RECURSIVE awaiting (id) AS (
        SELECT job FROM attempt WHERE archived_by IS NOT NULL AND state IN (2, 3)
        UNION
        SELECT job.id FROM awaiting JOIN edge ON edge.child = awaiting.id JOIN job ON job.id = edge.parent
        WHERE job.state <> 4
    )
    SELECT id FROM awaiting
);

-- name: startable
-- The condition of the partial indexes of ready jobs.
job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reuse_candidate IS NULL AND job.not_before IS NULL;

-- name: classes
-- The resource classes of ready jobs, or one class. An index leads from each to the next.
WITH RECURSIVE class (id) AS (
    SELECT coalesce(CAST(:resource_class AS BIGINT), (
        SELECT job.resource_class FROM job WHERE {startable} AND {scope} ORDER BY job.resource_class LIMIT 1
    ))
    UNION ALL
    SELECT (
        SELECT job.resource_class FROM job
        WHERE {startable} AND {scope} AND job.resource_class > class.id ORDER BY job.resource_class LIMIT 1
    )
    FROM class WHERE class.id IS NOT NULL AND CAST(:resource_class AS BIGINT) IS NULL
);

-- name: ready_classes
-- These classes alone.
{classes} SELECT id FROM class WHERE id IS NOT NULL;

-- name: not_left_out
-- The jobs of all but some workflows and some templates.
job.workflow NOT IN @stopped AND job.template NOT IN @skipped;

-- name: claimable
-- The ready jobs of a class that may be claimed, in the order of the queue. `{scope}` and `{where}` are conditions, and
-- `{joins}` what the latter uses: PostgreSQL does not leave out unused joins of rows that it locks.
JOIN workflow ON workflow.id = job.workflow{joins}
WHERE job.resource_class = class.id AND {startable} AND {scope} AND {where}
    AND {not_left_out} AND workflow.archived IS NULL
    AND (job.avoids IS NULL OR job.avoids <> :host) AND job.id NOT IN {blocked}
ORDER BY job.priority DESC, job.id;

-- name: ready_in_class
-- All ready jobs of one class, whose parameter replaces `class.id`: an index yields them in order only for a constant.
SELECT job.id{columns} FROM job {claimable};

-- name: any_workflow
-- The scope of a runner that claims jobs of all workflows. Also the condition of one that claims any job.
1 = 1;

-- name: one_workflow
-- The scope of a runner that claims jobs of one workflow.
job.workflow = :workflow;

-- name: insert_attempt
-- An attempt when it is claimed.
-- distinct row: id, token, job, workflow, revision, template, binding, identity, builds_on, start_step, overrides, pinned_to, number, runner, folder, shared, queued
INSERT INTO attempt (id, token, job, workflow, state, revision, template, binding, identity, builds_on, start_step,
    overrides, pinned_to, number, runner, folder, shared, queued)
VALUES (:id, :token, :job, :workflow, 2, :revision, :template, :binding, :identity, :builds_on, :start_step,
    :overrides, :pinned_to, :number, :runner, :folder, :shared, :queued);

-- name: claim_job
-- A ready job gets a live attempt and becomes QUEUED, unless an earlier attempt still runs. `state + 0`: PostgreSQL is
-- not to read an index of all ready jobs instead of the row with this id.
-- distinct row: attempt, job
UPDATE job SET state = 2, version = version + 1, attempts = attempts + 1, attempt = :attempt
WHERE id = :job AND state + 0 = 1 AND attempt IS NULL AND held IS NULL AND retired = 0 AND reuse_candidate IS NULL
    AND not_before IS NULL AND NOT EXISTS (
        SELECT 1 FROM attempt WHERE attempt.job = job.id AND archived_by IS NOT NULL AND attempt.state IN (2, 3)
    );

-- name: count_archived_active
-- The number of archived attempts that have not ended.
SELECT count(*) FROM attempt WHERE archived_by IS NOT NULL AND state IN (2, 3);

-- name: count_archived_active_of_one
-- The same for one workflow.
SELECT count(*) FROM attempt WHERE archived_by IS NOT NULL AND state IN (2, 3) AND workflow = :workflow;

-- name: status
-- The status of attempts and of their jobs, whether other jobs need them, whether a group of canaries is undecided, and
-- whether the end of an attempt applies or replaces dynamic actions. Integers: psycopg converts them faster.
SELECT attempt.id, attempt.token, attempt.state, CAST(attempt.archived_by IS NOT NULL AS INTEGER) AS archived,
    job.id AS job, job.name, job.workflow, job.resource_class, job.state AS job_state, job.attempt AS job_attempt,
    attempt.cancel, job.next_attempt,
    CAST(EXISTS (SELECT 1 FROM edge WHERE edge.parent = job.id) AS INTEGER) AS has_children,
    CAST(EXISTS (SELECT 1 FROM canary_group WHERE outcome IS NULL) AS INTEGER) AS canaries_open,
    CAST(EXISTS (SELECT 1 FROM step WHERE step.attempt = attempt.id AND step.action IS NOT NULL)
        OR EXISTS (SELECT 1 FROM attempt AS earlier WHERE earlier.job = job.id AND earlier.acts = 1) AS INTEGER) AS acts
FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.id IN @attempts;

-- name: start_attempt
-- A queued attempt starts. `state + 0`: as for claims.
-- distinct row: attempt, started, worker, host, pid, pid_start
UPDATE attempt SET state = 3, started = :started, worker = :worker, host = :host, pid = :pid, pid_start = :pid_start
WHERE id = :attempt AND state + 0 = 2;

-- name: end_attempt
-- An attempt ends. Values that only its start recorded are kept. BETWEEN: PostgreSQL is not to read the index of all
-- active attempts.
-- distinct row: attempt, state, ended, started, worker, host, pid, pid_start, cause, exit_code, signal, signature, error_type, error_message, error_traceback, error_stderr, evidence, cpu_seconds, max_rss_bytes, result, verdict, verdict_message, partial, code, left_running
UPDATE attempt SET state = :state, ended = :ended, started = coalesce(:started, started),
    worker = coalesce(:worker, worker), host = coalesce(:host, host), pid = coalesce(:pid, pid),
    pid_start = coalesce(:pid_start, pid_start), cause = :cause, exit_code = :exit_code, signal = :signal,
    signature = :signature, error_type = :error_type, error_message = :error_message,
    error_traceback = :error_traceback, error_stderr = :error_stderr, evidence = :evidence,
    cpu_seconds = :cpu_seconds, max_rss_bytes = :max_rss_bytes, result = :result, verdict = :verdict,
    verdict_message = :verdict_message, partial = CASE WHEN :partial > partial THEN :partial ELSE partial END, code = coalesce(:code, code),
    left_running = :left_running
WHERE id = :attempt AND state BETWEEN 2 AND 3;

-- name: complete_attempt
-- The end of an attempt that completed and reports no more than that, as most do. Its other columns were never set.
-- SQLite checks each index of a column that a statement names: naming all columns takes twice as long.
-- distinct row: attempt, ended, started, worker, host, pid, pid_start, exit_code, cpu_seconds, max_rss_bytes, result, code
UPDATE attempt SET state = 4, ended = :ended, started = coalesce(:started, started),
    worker = coalesce(:worker, worker), host = coalesce(:host, host), pid = coalesce(:pid, pid),
    pid_start = coalesce(:pid_start, pid_start), exit_code = :exit_code, cpu_seconds = :cpu_seconds,
    max_rss_bytes = :max_rss_bytes, result = :result, code = coalesce(:code, code)
WHERE id = :attempt AND state BETWEEN 2 AND 3;

-- name: find_signature
-- The row of a signature.
SELECT id FROM signature WHERE digest = :digest;

-- name: insert_signature
-- A new failure signature.
INSERT INTO signature (digest, cause, type, message) VALUES (:digest, :cause, :type, :message) RETURNING id;

-- name: write_step
-- The end of a step; an existing row is replaced.
-- distinct row: attempt, position, name, state, cause, exit_code, signal, started, ended, result, kept_from, action, verdict, verdict_message
INSERT INTO step (attempt, position, name, state, cause, exit_code, signal, started, ended, result, kept_from, action,
    verdict, verdict_message)
VALUES (:attempt, :position, :name, :state, :cause, :exit_code, :signal, :started, :ended, :result, :kept_from,
    :action, :verdict, :verdict_message)
ON CONFLICT (attempt, position) DO UPDATE SET name = excluded.name, state = excluded.state, cause = excluded.cause,
    exit_code = excluded.exit_code, signal = excluded.signal, started = excluded.started, ended = excluded.ended,
    result = excluded.result, kept_from = excluded.kept_from, action = excluded.action,
    verdict = excluded.verdict, verdict_message = excluded.verdict_message;

-- name: complete_step
-- The end of a step that completed and reports no more than that. A row exists only if the step was ended before.
-- distinct row: attempt, position, name, exit_code, started, ended, result
INSERT INTO step (attempt, position, name, state, exit_code, started, ended, result)
VALUES (:attempt, :position, :name, 4, :exit_code, :started, :ended, :result)
ON CONFLICT (attempt, position) DO UPDATE SET name = excluded.name, state = 4, cause = NULL,
    exit_code = excluded.exit_code, signal = NULL, started = excluded.started, ended = excluded.ended,
    result = excluded.result, kept_from = NULL, action = NULL, verdict = NULL, verdict_message = NULL;

-- name: move_job
-- Change the state of a job, if it is still in the state that the decision was made on.
-- distinct row: after, job, before
UPDATE job SET state = :after, version = version + 1 WHERE id = :job AND state = :before AND retired = 0;

-- name: need_counts
-- The children of jobs, each with the number of these jobs that it needs.
SELECT edge.child, count(*) AS n FROM edge WHERE edge.parent IN @parents GROUP BY edge.child;

-- name: with_needs_met
-- The state of a job that needs `need.n` others less: one that waits, and needs nothing more, becomes READY.
CASE
    WHEN job.state = 0 AND job.unmet = need.n AND job.canceled = 0 AND job.retired = 0 THEN 1 ELSE job.state
END;

-- name: meet_needs
-- Lower the unmet counts of the children of jobs that are done. Plans depend on them, so the versions increase.
UPDATE job SET unmet = job.unmet - need.n, version = job.version + 1, state = {with_needs_met}
FROM ({need_counts}) AS need WHERE job.id = need.child
RETURNING job.workflow, job.resource_class, job.state, job.unmet;

-- name: meet_needs_to_finish
-- The same for children with `when: finished`.
UPDATE job SET unmet = job.unmet - need.n, version = job.version + 1, state = {with_needs_met}
FROM ({need_counts}) AS need WHERE job.id = need.child AND job.when_finished = 1
RETURNING job.workflow, job.resource_class, job.state, job.unmet;

-- name: unstarted_claims
-- Live attempts among these that are queued and never started.
SELECT attempt.id FROM attempt JOIN job ON job.id = attempt.job AND job.attempt = attempt.id
WHERE attempt.id IN @attempts AND attempt.state = 2 AND attempt.started IS NULL;

-- name: remember_attempts
-- The highest deleted attempt id. Ids are not used twice: folders and journals contain them.
INSERT INTO meta (key, value) VALUES ('highest_attempt', CAST(:highest AS TEXT))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: unclaim_jobs
-- Take the live attempt and its number from jobs.
UPDATE job SET attempt = NULL, attempts = attempts - 1 WHERE attempt IN @attempts AND id IN @jobs;

-- name: delete_steps
-- Delete the steps that claims copied from earlier attempts.
DELETE FROM step WHERE attempt IN @attempts;

-- name: delete_fingerprints
-- Delete the fingerprints that claims recorded.
DELETE FROM fingerprint WHERE attempt IN @attempts;

-- name: delete_attempts
-- Delete attempts that never started.
DELETE FROM attempt WHERE id IN @attempts;

-- name: clear_due_delays
-- End the delays that are over.
UPDATE job SET next_attempt = nullif(json_remove(next_attempt, '$.not_before'), '{}')
WHERE not_before <= :now;

-- name: clear_future_delays
-- End the delays that began after now: the clock has been set back.
UPDATE job SET next_attempt = nullif(json_remove(next_attempt, '$.not_before'), '{}')
WHERE not_before > :now AND delayed_since > :now;

-- name: next_due
-- When the next delay of a ready job ends.
SELECT job.not_before FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.not_before > :now AND job.state = 1 AND job.held IS NULL AND job.retired = 0 AND workflow.archived IS NULL
ORDER BY job.not_before LIMIT 1;

-- name: next_due_of_one
-- When the next delay of a ready job of a workflow ends. (With `+`, the index of delays is used, not that of names.)
SELECT job.not_before FROM job
WHERE job.not_before > :now AND +job.workflow = :workflow AND job.state = 1 AND job.held IS NULL AND job.retired = 0
ORDER BY job.not_before LIMIT 1;
