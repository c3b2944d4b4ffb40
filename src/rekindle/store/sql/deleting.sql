-- Deleting a workflow. The blocks run in this order: referring rows before the rows they refer to.

-- name: remember_highest_job
-- Job ids are not used twice, unless they begin again (see `begin_ids_again`).
INSERT INTO meta (key, value) SELECT 'highest_job', CAST(max(id) AS TEXT) FROM job WHERE workflow = :workflow
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: remember_highest_version
-- No job id has a version twice, also where ids begin again: a saved plan may contain both.
INSERT INTO meta (key, value) SELECT 'highest_version', CAST(max(version) AS TEXT) FROM job WHERE workflow = :workflow
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: remember_highest_attempt
-- Attempt ids are not used twice: folders and journals contain them.
INSERT INTO meta (key, value) SELECT 'highest_attempt', CAST(max(id) AS TEXT) FROM attempt WHERE workflow = :workflow
HAVING max(id) IS NOT NULL
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: remember_highest_workflow
-- Workflow ids are not used twice.
INSERT INTO meta (key, value) SELECT 'highest_workflow', CAST(max(id) AS TEXT) FROM workflow WHERE id = :workflow
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: own_attempts
-- The attempts of the workflow's jobs.
(SELECT attempt.id FROM attempt JOIN job ON job.id = attempt.job WHERE job.workflow = :workflow);

-- name: delete_temporary_outputs
-- What is recorded of its temporary outputs.
DELETE FROM temporary_output WHERE attempt IN {own_attempts};

-- name: delete_verifications
-- The verifications of its attempts.
DELETE FROM verification WHERE attempt IN {own_attempts};

-- name: forget_reused
-- Attempts of other workflows that its attempts completed keep that fact, and not the number.
UPDATE attempt SET reused_from = 0 WHERE reused_from > 0 AND workflow <> :workflow AND reused_from IN {own_attempts};

-- name: delete_cached_outputs
-- What is recorded of its kept outputs.
DELETE FROM cached_output WHERE attempt IN {own_attempts};

-- name: delete_fingerprints
-- Its fingerprints.
DELETE FROM fingerprint WHERE attempt IN {own_attempts};

-- name: delete_accepted
-- Its accepted bases.
DELETE FROM accepted WHERE attempt IN {own_attempts};

-- name: delete_patches
-- The patches of its attempts.
DELETE FROM patch WHERE attempt IN {own_attempts};

-- name: delete_subtasks
-- The items of its fan-outs.
DELETE FROM subtask WHERE attempt IN {own_attempts};

-- name: delete_fan_outs
-- Its fan-outs.
DELETE FROM fan_out WHERE attempt IN {own_attempts};

-- name: delete_steps
-- The steps of its attempts.
DELETE FROM step WHERE attempt IN {own_attempts};

-- name: delete_judgements
-- The questions that its judges were asked.
DELETE FROM judgement WHERE workflow = :workflow;

-- name: delete_attempts
-- Its attempts.
DELETE FROM attempt WHERE job IN (SELECT id FROM job WHERE workflow = :workflow);

-- name: delete_rerun_jobs
-- Its jobs in reruns.
DELETE FROM rerun_job WHERE job IN (SELECT id FROM job WHERE workflow = :workflow);

-- name: delete_rerun_changes
-- The changes of reruns without any jobs left.
DELETE FROM rerun_change WHERE rerun NOT IN (SELECT rerun FROM rerun_job);

-- name: delete_canaries
-- The jobs of its canary groups.
DELETE FROM canary WHERE canary_group IN (SELECT id FROM canary_group WHERE workflow = :workflow);

-- name: delete_canary_groups
-- Its canary groups.
DELETE FROM canary_group WHERE workflow = :workflow;

-- name: delete_edges
-- Its edges.
DELETE FROM edge WHERE parent IN (SELECT id FROM job WHERE workflow = :workflow);

-- name: delete_jobs
-- Its jobs.
DELETE FROM job WHERE workflow = :workflow;

-- name: delete_counts
-- Its counts.
DELETE FROM workflow_count WHERE workflow = :workflow;

-- name: delete_spans
-- The times of its attempts.
DELETE FROM workflow_span WHERE workflow = :workflow;

-- name: delete_templates
-- Its templates.
DELETE FROM template WHERE workflow = :workflow;

-- name: delete_revisions
-- Its revisions.
DELETE FROM revision WHERE workflow = :workflow;

-- name: delete_reruns
-- Reruns without any jobs left.
DELETE FROM rerun WHERE NOT EXISTS (SELECT 1 FROM rerun_job WHERE rerun_job.rerun = rerun.id)
    AND id NOT IN (SELECT rerun FROM revision WHERE rerun IS NOT NULL);

-- name: delete_supervisions
-- Its supervisions.
DELETE FROM supervision WHERE workflow = :workflow;

-- name: delete_hook_deliveries
-- The deliveries of its hooks.
DELETE FROM hook_delivery WHERE workflow = :workflow;

-- name: delete_assessments
-- What was found of its blocks of jobs.
DELETE FROM assessment WHERE workflow = :workflow;

-- name: delete_events
-- Its events.
DELETE FROM event WHERE workflow = :workflow;

-- name: delete_workflow
-- The workflow itself.
DELETE FROM workflow WHERE id = :workflow;
