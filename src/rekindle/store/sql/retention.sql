-- Retention: which attempts may be pruned, and what a prune removes.

-- name: archived_attempts
-- The archived attempts of jobs that have ended and still have something to remove, with the number of later ones.
SELECT attempt.id, attempt.job, job.name, job.version, attempt.workflow, attempt.number, attempt.state, attempt.cause,
    coalesce(attempt.ended, attempt.started, attempt.queued) AS ended, prune.logs, (
        SELECT count(*) FROM attempt AS later WHERE later.job = attempt.job AND later.number > attempt.number
    ) AS later
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN prune ON prune.id = attempt.pruned_by
WHERE attempt.job IN @jobs AND attempt.archived_by IS NOT NULL AND attempt.state >= 4
    AND (attempt.pruned_by IS NULL OR prune.logs = 'compressed')
ORDER BY attempt.id;

-- name: links
-- Which attempts build on these: kept steps and subtasks, a pinned definition, or all of it. Pruned attempts build on nothing.
SELECT attempt.id AS later, attempt.builds_on AS earlier FROM attempt
WHERE attempt.builds_on IN @attempts AND attempt.pruned_by IS NULL
UNION
SELECT attempt.id, attempt.reused_from FROM attempt WHERE attempt.reused_from IN @attempts AND attempt.pruned_by IS NULL
UNION
SELECT attempt.id, attempt.pinned_to FROM attempt WHERE attempt.pinned_to IN @attempts AND attempt.pruned_by IS NULL
UNION
SELECT step.attempt, step.kept_from FROM step JOIN attempt ON attempt.id = step.attempt
WHERE step.kept_from IN @attempts AND attempt.pruned_by IS NULL
UNION
SELECT fan_out.attempt, fan_out.base FROM fan_out WHERE fan_out.base IN @attempts;

-- name: held
-- Those of these attempts that a job's next attempt builds on, whose actions have brought something, or that wait for
-- canaries.
SELECT job.resume_attempt FROM job WHERE job.resume_attempt IN @attempts
UNION
SELECT job.reuse_candidate FROM job WHERE job.reuse_candidate IN @attempts
UNION
SELECT job.pinned_to FROM job WHERE job.pinned_to IN @attempts
UNION
SELECT job.attempt FROM job WHERE job.attempt IN @attempts
UNION
SELECT job.added_by FROM job WHERE job.added_by IN @attempts
UNION
SELECT edge.added_by FROM edge WHERE edge.added_by IN @attempts
UNION
SELECT patch.attempt FROM patch WHERE patch.attempt IN @attempts
UNION
SELECT attempt.id FROM attempt WHERE attempt.id IN @attempts AND attempt.acts = 1
UNION
SELECT canary.attempt FROM canary JOIN canary_group ON canary_group.id = canary.canary_group
WHERE canary_group.outcome IS NULL AND canary.attempt IN @attempts;

-- name: used
-- Those of these attempts whose results a live attempt, or the newest one of its job, has used.
SELECT DISTINCT CAST(used.value AS BIGINT)
FROM fingerprint JOIN attempt ON attempt.id = fingerprint.attempt, json_each(fingerprint.document) AS used
WHERE fingerprint.part = 'needed' AND CAST(used.value AS BIGINT) IN @attempts AND (
    attempt.archived_by IS NULL
    OR NOT EXISTS (SELECT 1 FROM attempt AS later WHERE later.job = attempt.job AND later.number > attempt.number)
);

-- name: shared_folders
-- Attempts that ran in the folder of an earlier one, and jobs (as 0) whose next attempt will: with that folder.
SELECT id AS later, folder FROM attempt
WHERE folder NOT LIKE '%/' || CAST(id AS TEXT) AND pruned_by IS NULL AND shared = 0
UNION ALL
SELECT 0, folder FROM job WHERE folder IS NOT NULL;

-- name: insert_prune
-- A prune.
INSERT INTO prune (at, request, note, logs, attempts, bytes) VALUES (:at, :request, :note, :logs, :attempts, :bytes)
RETURNING id;

-- name: count_attempts
-- Add attempts to the number that a prune concerns.
UPDATE prune SET attempts = attempts + :n WHERE id = :prune;

-- name: mark_pruned
-- Mark attempts as pruned, and remove what they returned and the long texts of their errors.
UPDATE attempt SET pruned_by = :prune, result = NULL,
    error_traceback = CASE WHEN error_traceback IS NULL THEN NULL ELSE '' END,
    error_stderr = CASE WHEN error_stderr IS NULL THEN NULL ELSE '' END
WHERE id IN @attempts;

-- name: clear_steps
-- Remove what the steps of pruned attempts returned.
UPDATE step SET result = NULL, action = NULL WHERE attempt IN @attempts;

-- name: delete_subtasks
-- The items of their fan-outs.
DELETE FROM subtask WHERE attempt IN @attempts;

-- name: delete_fan_outs
-- Their fan-outs.
DELETE FROM fan_out WHERE attempt IN @attempts;

-- name: delete_fingerprints
-- What they depended on.
DELETE FROM fingerprint WHERE attempt IN @attempts;

-- name: delete_cached
-- That their outputs are kept.
DELETE FROM cached_output WHERE attempt IN @attempts;

-- name: delete_accepted
-- What was accepted for them.
DELETE FROM accepted WHERE attempt IN @attempts;

-- name: forget_saved
-- Forget the outputs that reruns saved with them.
UPDATE rerun_job SET saved = NULL WHERE saved IS NOT NULL AND EXISTS (
    SELECT 1 FROM attempt
    WHERE attempt.id IN @attempts AND attempt.job = rerun_job.job AND attempt.archived_by = rerun_job.rerun
);

-- name: bump_versions
-- Plans that were made before are outdated.
UPDATE job SET version = version + 1 WHERE id IN (SELECT job FROM attempt WHERE id IN @attempts);

-- name: insert_removal
-- The files of an attempt are to be removed.
-- distinct row: attempt, prune
INSERT INTO removal (attempt, prune) VALUES (:attempt, :prune)
ON CONFLICT (attempt) DO UPDATE SET prune = excluded.prune;

-- name: removals
-- The first attempts whose files are still to be removed, and what happens to their logs.
SELECT removal.attempt, prune.logs FROM removal JOIN prune ON prune.id = removal.prune
ORDER BY removal.attempt LIMIT :limit;

-- name: delete_removals
-- The files of these attempts are removed.
DELETE FROM removal WHERE attempt IN @attempts;

-- name: pruned_columns
-- An attempt that was pruned, and by which prune.
attempt.id AS attempt, attempt.job, job.name, attempt.number, prune.id AS prune, prune.at, prune.logs;

-- name: pruned
-- Which of some attempts were pruned, and when.
SELECT {pruned_columns} FROM attempt JOIN prune ON prune.id = attempt.pruned_by JOIN job ON job.id = attempt.job
WHERE attempt.id IN @attempts ORDER BY attempt.id;

-- name: pruned_for_undo
-- Pruned attempts that undoing a rerun would bring back, or that the next attempts which it would restore build on.
SELECT {pruned_columns}
FROM rerun_job JOIN rerun_change ON rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change
    JOIN attempt ON attempt.id IN (
        rerun_job.attempt, rerun_job.own, CAST(json_extract(rerun_change.next_before, '$.resume_attempt') AS BIGINT),
        CAST(json_extract(rerun_change.next_before, '$.reuse_candidate') AS BIGINT)
    )
    JOIN prune ON prune.id = attempt.pruned_by JOIN job ON job.id = attempt.job
WHERE rerun_job.rerun = :rerun ORDER BY attempt.id;

-- name: attempts_of_workflows
-- The attempts of workflows.
SELECT id FROM attempt WHERE workflow IN @workflows ORDER BY id;

-- name: archived_workflows
-- Workflows that were archived before some time, with the number of their jobs.
SELECT workflow.id, workflow.name, workflow.archived, (
    SELECT count(*) FROM attempt WHERE attempt.workflow = workflow.id
) AS attempts
FROM workflow WHERE workflow.archived < :before AND (CAST(:only AS BIGINT) IS NULL OR workflow.id = CAST(:only AS BIGINT))
    AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.workflow = workflow.id AND attempt.state IN (2, 3))
ORDER BY workflow.id;

-- name: count_events
-- The number of events before some time.
SELECT count(*) FROM event WHERE at < :before AND (CAST(:only AS BIGINT) IS NULL OR workflow = CAST(:only AS BIGINT));

-- name: delete_events
-- Remove events before some time.
DELETE FROM event WHERE at < :before AND (CAST(:only AS BIGINT) IS NULL OR workflow = CAST(:only AS BIGINT));
