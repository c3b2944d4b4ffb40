-- Ready jobs with a reuse candidate, and attempts of all workflows that may complete jobs. 0 WAITING, 1 READY,
-- 4 COMPLETED.

-- name: candidate_columns
-- The columns of rekindle.domain.models.ReuseCandidate, by name.
job.id, job.workflow, job.name, job.resource_class, job.version, job.reuse_candidate, CASE WHEN job.attempts > 0
    THEN (SELECT attempt.id FROM attempt WHERE attempt.job = job.id ORDER BY attempt.number DESC LIMIT 1) END AS newest;

-- name: with_candidate
-- Ready jobs with a reuse candidate, by the partial index of such jobs.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reuse_candidate IS NOT NULL
    AND workflow.archived IS NULL
ORDER BY job.workflow, job.id LIMIT :limit;

-- name: with_candidate_of_one
-- The same for one workflow.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.workflow = :workflow AND job.state = 1 AND job.held IS NULL AND job.retired = 0
    AND job.reuse_candidate IS NOT NULL AND workflow.archived IS NULL
ORDER BY job.id LIMIT :limit;

-- name: still_with_candidate
-- Those jobs that are still ready with a candidate.
SELECT {candidate_columns} FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.id IN @jobs AND job.state = 1 AND job.held IS NULL AND job.retired = 0 AND job.reuse_candidate IS NOT NULL
    AND workflow.archived IS NULL;

-- name: reinstate
-- The candidate becomes the live attempt.
-- row: attempt, job
UPDATE job SET attempt = :attempt, next_attempt = nullif(json_remove(next_attempt, '$.reuse_candidate'), '{}')
WHERE id = :job AND reuse_candidate IN (:attempt, 0) AND attempt IS NULL;

-- name: unarchive_attempts
-- Attempts that are live again.
UPDATE attempt SET archived_by = NULL WHERE id IN @attempts AND archived_by IS NOT NULL;

-- name: reject_candidates
-- Drop the candidates of jobs, which may then be claimed.
UPDATE job SET next_attempt = nullif(json_remove(next_attempt, '$.reuse_candidate'), '{}'), version = version + 1
WHERE id IN @jobs AND reuse_candidate IS NOT NULL;

-- name: has_reusable
-- Whether any attempt may complete jobs.
SELECT 1 FROM attempt WHERE identity IS NOT NULL AND state = 4 LIMIT 1;

-- name: reusable
-- The newest completed attempts with these identities, newest first. Attempts that are partial, have acted, left
-- processes, were pruned, or had parameters changed by actions are left out, as are those with temporary outputs that
-- were removed and are not in the content store.
SELECT identity, id, job FROM (
    SELECT identity, id, job, row_number() OVER (PARTITION BY identity ORDER BY id DESC) AS place FROM attempt
    WHERE identity IN @identities AND identity IS NOT NULL AND state = 4 AND partial = 0 AND acts = 0
        AND left_running IS NULL AND pruned_by IS NULL AND NOT EXISTS (
            SELECT 1 FROM fingerprint WHERE fingerprint.attempt = attempt.id AND fingerprint.part = 'patched'
        ) AND (NOT EXISTS (SELECT 1 FROM temporary_output WHERE temporary_output.attempt = attempt.id)
            OR EXISTS (SELECT 1 FROM cached_output WHERE cached_output.attempt = attempt.id))
) AS newest WHERE place <= :most ORDER BY id DESC;

-- name: definitions
-- What identifies the next attempt of jobs.
SELECT job.id, job.workflow, job.template, workflow.revision, job.binding, job.overrides
FROM job JOIN workflow ON workflow.id = job.workflow WHERE job.id IN @jobs AND job.pinned_to IS NULL ORDER BY job.id;

-- name: with_unstarted
-- The workflows that are not archived and have waiting or ready jobs.
SELECT DISTINCT workflow.id FROM workflow JOIN workflow_count ON workflow_count.workflow = workflow.id
WHERE workflow.archived IS NULL AND workflow_count.state IN (0, 1) AND workflow_count.n > 0 ORDER BY workflow.id;

-- name: unstarted
-- Jobs of a workflow that are to run, without a candidate, unless the newest rerun that reset them was asked for by a
-- person or retries a failure: those run.
SELECT job.id, job.next_attempt FROM job
WHERE job.workflow = :workflow AND job.state IN (0, 1) AND job.attempt IS NULL AND job.retired = 0 AND job.canceled = 0
    AND job.reuse_candidate IS NULL AND job.template IN @templates AND coalesce((
        SELECT rerun.kind FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
            JOIN rerun_change ON rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change
        WHERE rerun_job.job = job.id AND rerun_change.stays = 0 AND rerun.undone IS NULL AND rerun.kind NOT IN ('revision', 'accept', 'import')
        ORDER BY rerun_job.rerun DESC LIMIT 1
    ), 'run') IN ('run', 'restart')
ORDER BY job.id;

-- name: offer
-- Jobs are completed by an earlier attempt that is found when they are ready, if there is one.
UPDATE job SET next_attempt = :next_attempt, version = version + 1 WHERE id IN @jobs;

-- name: sources
-- Attempts that complete jobs, with the names of their workflows.
SELECT attempt.id, attempt.number, workflow.name AS workflow, attempt.job
FROM attempt JOIN workflow ON workflow.id = attempt.workflow WHERE attempt.id IN @attempts;

-- name: completed
-- The completed attempts of jobs.
SELECT id, job FROM attempt WHERE job IN @jobs AND state = 4 ORDER BY id;

-- name: reused_jobs
-- Those of these jobs whose live attempt stands for another one.
SELECT job.id FROM attempt JOIN job ON job.attempt = attempt.id WHERE attempt.reused_from IS NOT NULL AND job.id IN @jobs;

-- name: insert_reused
-- An attempt of a job that another one completes: nothing starts.
-- distinct row: id, token, folder, now, job, source
INSERT INTO attempt (id, job, workflow, number, token, state, revision, template, folder, queued, ended, overrides,
    result, verdict, verdict_message, code, reused_from)
SELECT :id, job.id, job.workflow, job.attempts + 1, :token, 4, workflow.revision, job.template, :folder, :now, :now,
    job.overrides, source.result, source.verdict, source.verdict_message, source.code, source.id
FROM job JOIN workflow ON workflow.id = job.workflow JOIN attempt AS source ON source.id = :source
WHERE job.id = :job;

-- name: reuse_steps
-- Their steps are those of the attempts that they stand for.
-- distinct row: id, source
INSERT INTO step (attempt, position, name, state, started, ended, result, kept_from, verdict, verdict_message)
SELECT :id, position, name, state, started, ended, result, coalesce(kept_from, :source), verdict, verdict_message
FROM step WHERE attempt = :source;

-- name: complete_by_reuse
-- The job's live attempt is the one that stands for another.
-- row: attempt, job
UPDATE job SET attempt = :attempt, attempts = attempts + 1,
    next_attempt = nullif(json_remove(next_attempt, '$.reuse_candidate'), '{}')
WHERE id = :job AND state = 1 AND attempt IS NULL AND reuse_candidate IS NOT NULL;
