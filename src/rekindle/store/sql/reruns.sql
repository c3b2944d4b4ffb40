-- Reruns: what planning reads, applied plans, and undo.

-- name: reached
-- Jobs and all their descendants.
WITH RECURSIVE reached (id) AS (
    SELECT id FROM job WHERE id IN @jobs
    UNION
    SELECT edge.child FROM reached JOIN edge ON edge.parent = reached.id
)
SELECT id FROM reached;

-- name: edges_into
-- The edges into jobs.
SELECT parent, child FROM edge WHERE child IN @jobs ORDER BY child, parent;

-- name: full_views
-- The jobs that a rerun may touch, as the planner sees them.
SELECT job.id, job.name, job.state, job.version, job.template, job.binding, job.held, job.canceled, job.retired,
    job.unmet, job.next_attempt, job.workflow,
    workflow.revision, workflow.archived IS NOT NULL AS archived, attempt.id AS attempt,
    attempt.state AS attempt_state, attempt.cause,
    attempt.started,
    workflow.directory, attempt.folder AS attempt_folder, attempt.builds_on,
    CASE WHEN job.attempt IS NULL AND job.attempts > 0
        THEN (SELECT max(earlier.id) FROM attempt AS earlier WHERE earlier.job = job.id) END AS last,
    job.when_finished,
    job.attempt IS NULL AND job.attempts > 0 AND 'recovery' = (
        SELECT rerun.kind FROM attempt AS earlier JOIN rerun ON rerun.id = earlier.archived_by
        WHERE earlier.job = job.id ORDER BY earlier.id DESC LIMIT 1
    ) AS recovered
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs;

-- name: added
-- The jobs that actions added.
SELECT id FROM job WHERE id IN @jobs AND added_by IS NOT NULL;

-- name: parent_views
-- Jobs that are only parents of those, as the planner sees them.
SELECT id, name, state, version FROM job WHERE id IN @jobs;

-- name: defined_by
-- The definitions that attempts had. A null binding means the job's current one.
SELECT attempt.id, attempt.workflow, attempt.template, attempt.revision, attempt.binding
FROM attempt WHERE attempt.id IN @attempts;

-- name: live_steps
-- The steps of live attempts.
SELECT step.attempt, step.position, step.name, step.state, step.kept_from
FROM job JOIN step ON step.attempt = job.attempt WHERE job.id IN @jobs ORDER BY step.attempt, step.position;

-- name: sources
-- Attempts, live or archived, that a rerun may continue from; nothing is left of pruned ones.
SELECT id, job, state, cause, folder, builds_on FROM attempt WHERE id IN @attempts AND pruned_by IS NULL ORDER BY id;

-- name: source_steps
-- The steps of attempts.
SELECT attempt, position, name, state, kept_from FROM step WHERE attempt IN @attempts ORDER BY attempt, position;

-- name: builds_on
-- The folders of attempts, the attempts that they build on, and whether they have completed a step of their own.
SELECT attempt.id, attempt.folder, attempt.builds_on, EXISTS (
    SELECT 1 FROM step WHERE step.attempt = attempt.id AND step.state = 4 AND step.kept_from IS NULL
) AS own_steps FROM attempt WHERE attempt.id IN @attempts;

-- name: params
-- The parameters of a revision.
SELECT params FROM revision WHERE workflow = :workflow AND number = :revision;

-- name: pointers
-- The columns of jobs that a rerun changes.
SELECT id, workflow, resource_class, attempt, held, canceled, next_attempt
FROM job WHERE id IN @jobs;

-- name: insert_rerun
-- An applied plan.
INSERT INTO rerun (id, kind, at, digest, request, note, refused, warnings, expected, overwrites, jobs)
VALUES ((SELECT coalesce(max(id), 0) + 1 FROM rerun), :kind, :at, :digest, :request, :note, :refused, :warnings,
    :expected, :overwrites, :jobs)
RETURNING id;

-- name: insert_rerun_job
-- A job of an applied plan, with the pointers that undo restores.
-- distinct row: rerun, job, version, before, after, unmet, start, keeps, reasons, archives, pointers, next_attempt, changes, saves, saved, stays, holds, releases
INSERT INTO rerun_job (rerun, job, version, before, after, unmet, start, keeps, reasons, archives, pointers,
    next_attempt, changes, saves, saved, stays, holds, releases)
VALUES (:rerun, :job, :version, :before, :after, :unmet, :start, :keeps, :reasons, :archives, :pointers,
    :next_attempt, :changes, :saves, :saved, :stays, :holds, :releases);

-- name: record_dynamic
-- The action sets that a rerun ended.
UPDATE rerun SET dynamic = :dynamic WHERE id = :rerun;

-- name: dynamic
-- The action sets that a rerun ended.
SELECT dynamic FROM rerun WHERE id = :rerun;

-- name: edges_of
-- All edges of the workflows of some jobs.
SELECT edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id
WHERE job.workflow IN (SELECT workflow FROM job WHERE id IN @jobs);

-- name: archive_attempts
-- Archive attempts, which are then no longer live. Those that have not ended are asked to cancel.
UPDATE attempt SET archived_by = :rerun, cancel = CASE WHEN state IN (2, 3) THEN 1 ELSE cancel END
WHERE id IN @attempts AND archived_by IS NULL;

-- name: reset_job
-- A job after a plan has reset it.
-- distinct row: state, unmet, held, now, next_attempt, job
UPDATE job SET state = :state, unmet = :unmet, attempt = NULL, held = :held, canceled = 0, delayed_since = :now,
    next_attempt = :next_attempt, version = version + 1
WHERE id = :job;

-- name: keep_job
-- A job that a plan does not reset, with the state that follows from its parents.
-- distinct row: state, unmet, held, job
UPDATE job SET state = :state, unmet = :unmet, held = :held, version = version + 1 WHERE id = :job;

-- name: rerun_columns
-- A rerun without its jobs.
rerun.id, rerun.kind, rerun.at, rerun.note, rerun.undone, rerun.request, rerun.digest, rerun.refused, rerun.warnings,
rerun.expected, rerun.overwrites, rerun.dynamic, rerun.jobs;

-- name: rerun
-- One rerun.
SELECT {rerun_columns} FROM rerun WHERE rerun.id = :rerun;

-- name: reruns
-- Reruns, newest first.
SELECT {rerun_columns} FROM rerun ORDER BY rerun.id DESC LIMIT :limit OFFSET :offset;

-- name: touched_workflow
-- Whether a rerun touched a workflow's jobs.
(EXISTS (
    SELECT 1 FROM rerun_job JOIN job ON job.id = rerun_job.job
    WHERE rerun_job.rerun = rerun.id AND job.workflow = :workflow
) OR rerun.id IN (SELECT revision.rerun FROM revision WHERE revision.workflow = :workflow));

-- name: reruns_of_workflow
-- The reruns that touched a workflow's jobs, newest first.
SELECT {rerun_columns} FROM rerun WHERE {touched_workflow} ORDER BY rerun.id DESC LIMIT :limit OFFSET :offset;

-- name: count_reruns
-- The number of reruns.
SELECT count(*) FROM rerun;

-- name: count_reruns_of_workflow
-- The number of reruns that touched a workflow's jobs.
SELECT count(*) FROM rerun WHERE {touched_workflow};

-- name: planned_jobs
-- The jobs of a rerun.
SELECT rerun_job.job, job.name, rerun_job.version, rerun_job.before, rerun_job.after, rerun_job.start,
    rerun_job.reasons, rerun_job.archives, rerun_job.keeps, rerun_job.unmet,
    rerun_job.next_attempt, rerun_job.changes, rerun_job.saves,
    rerun_job.stays, rerun_job.holds, rerun_job.releases
FROM rerun_job JOIN job ON job.id = rerun_job.job WHERE rerun_job.rerun = :rerun ORDER BY rerun_job.job;

-- name: record_reuse_check
-- The result of a reuse check, with the newest rerun in force that set the candidate.
-- row: checked, job, candidate
UPDATE rerun_job SET checked = :checked
WHERE job = :job AND rerun = (
    SELECT max(setting.rerun) FROM rerun_job AS setting JOIN rerun ON rerun.id = setting.rerun
    WHERE setting.job = :job AND setting.reuse_candidate = :candidate AND setting.stays = 0 AND rerun.undone IS NULL
);

-- name: reuse_checks
-- The results of checking the reuse candidates that a rerun set.
SELECT job, checked FROM rerun_job WHERE rerun = :rerun AND checked IS NOT NULL;

-- name: newest_manual
-- The newest rerun that a user requested and that is not undone.
SELECT max(id) FROM rerun WHERE kind IN ('manual', 'restart', 'run', 'reset', 'accept') AND undone IS NULL;

-- name: saved
-- The outputs of an attempt that the rerun which archived it has saved.
SELECT rerun_job.saved FROM attempt
    JOIN rerun_job ON rerun_job.rerun = attempt.archived_by AND rerun_job.job = attempt.job
WHERE attempt.id = :attempt;

-- name: undo_views
-- The jobs of a rerun as they are now, with the pointers that undo restores.
SELECT rerun_job.job, job.name, job.version, job.state, job.attempt, rerun_job.pointers, rerun_job.archives,
    rerun_job.saved
FROM rerun_job JOIN job ON job.id = rerun_job.job WHERE rerun_job.rerun = :rerun ORDER BY rerun_job.job;

-- name: retries
-- How often jobs have been retried since a user last reset them.
SELECT rerun_job.job, count(*) FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
WHERE rerun_job.job IN @jobs AND rerun.kind = 'retry' AND rerun.undone IS NULL AND rerun_job.rerun > coalesce((
    SELECT max(reset.rerun) FROM rerun_job AS reset JOIN rerun AS asked ON asked.id = reset.rerun
    WHERE reset.job = rerun_job.job AND reset.stays = 0 AND asked.kind IN ('manual', 'restart', 'run', 'reset', 'canary')
        AND asked.undone IS NULL
), 0)
GROUP BY rerun_job.job;

-- name: retried
-- The retries of jobs with their reasons, and the attempts that they led to (null: none yet). A retry is left out if
-- another rerun reset the job before it ran.
WITH retry AS (
    SELECT rerun_job.rerun, rerun_job.job, rerun_job.reasons, (
        SELECT min(following.id)
        FROM attempt AS failed JOIN attempt AS following ON following.job = failed.job AND following.id > failed.id
        WHERE failed.job = rerun_job.job AND failed.archived_by = rerun.id
    ) AS attempt
    FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
    WHERE rerun_job.job IN @jobs AND rerun.kind = 'retry' AND rerun.undone IS NULL
)
SELECT retry.job, retry.attempt, retry.reasons FROM retry LEFT JOIN attempt ON attempt.id = retry.attempt
WHERE NOT EXISTS (
    SELECT 1 FROM rerun_job AS reset JOIN rerun ON rerun.id = reset.rerun
    WHERE reset.job = retry.job AND reset.rerun > retry.rerun AND reset.stays = 0 AND reset.archives = '[]'
        AND rerun.kind NOT IN ('accept', 'revision') AND rerun.undone IS NULL
        AND rerun.at <= coalesce(attempt.queued, rerun.at)
)
ORDER BY retry.rerun;

-- name: automatic
-- The newest attempts of jobs without a live one, if a retry or a recovery has archived them; with that kind.
SELECT newest.id, rerun.kind
FROM job JOIN attempt AS newest ON newest.id = (SELECT max(id) FROM attempt WHERE attempt.job = job.id)
    JOIN rerun ON rerun.id = newest.archived_by
WHERE job.id IN @jobs AND job.attempt IS NULL AND job.attempts > 0 AND rerun.kind IN ('retry', 'recovery');

-- name: attempt_states
-- The states of attempts.
SELECT id, state FROM attempt WHERE id IN @attempts;

-- name: later_reruns
-- Newer reruns in force that touched the same jobs. Revisions do not change what undo restores.
SELECT earlier.job, later.rerun
FROM rerun_job AS earlier JOIN rerun_job AS later ON later.job = earlier.job AND later.rerun > earlier.rerun
    JOIN rerun ON rerun.id = later.rerun
WHERE earlier.rerun = :rerun AND rerun.undone IS NULL AND rerun.kind <> 'revision' ORDER BY earlier.job, later.rerun;

-- name: restore_job
-- Restore a job's pointers, if its version has not changed.
-- row: attempt, held, canceled, next_attempt, job, version
UPDATE job SET attempt = :attempt, held = :held, canceled = :canceled, next_attempt = :next_attempt,
    version = version + 1
WHERE id = :job AND version = :version;

-- name: revive_attempts
-- Attempts that are live again.
UPDATE attempt SET archived_by = NULL WHERE id IN @attempts AND archived_by = :rerun;

-- name: children
-- The jobs that need jobs.
SELECT DISTINCT child FROM edge WHERE parent IN @jobs;

-- name: mark_undone
-- Mark a rerun undone.
UPDATE rerun SET undone = :now WHERE id = :rerun AND undone IS NULL;

-- name: bump_versions
-- Mark that plans which read these jobs are outdated.
UPDATE job SET version = version + 1 WHERE id IN @jobs;

-- name: workflows_of_jobs
-- The workflows of jobs, with the number of these jobs.
SELECT workflow, count(*) FROM job WHERE id IN @jobs GROUP BY workflow ORDER BY workflow;
