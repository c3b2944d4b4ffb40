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
-- First the values that differ by job; `own` is the live attempt, else the newest one. The others decide the kind
-- of a job: `recovered` is null for a job with a live attempt or without any.
SELECT job.id, job.name, job.version, job.unmet, job.binding,
    CASE WHEN job.attempt IS NOT NULL THEN job.attempt WHEN job.attempts > 0
        THEN (SELECT max(earlier.id) FROM attempt AS earlier WHERE earlier.job = job.id) END AS own,
    job.template, job.state, job.next_attempt, job.held, job.workflow,
    job.canceled + 2 * job.retired + 4 * job.when_finished + CASE WHEN job.added_by IS NULL THEN 0 ELSE 8 END AS flags,
    attempt.state AS attempt_state, attempt.cause,
    CASE WHEN attempt.started IS NULL AND attempt.completed_by IS NULL THEN 0 ELSE 1 END AS started,
    CASE WHEN job.attempt IS NULL AND job.attempts > 0 THEN (
        SELECT rerun.kind FROM attempt AS earlier JOIN rerun ON rerun.id = earlier.archived_by
        WHERE earlier.job = job.id ORDER BY earlier.id DESC LIMIT 1
    ) END AS recovered, CASE WHEN attempt.undecided IS NULL THEN 0 ELSE 1 END AS undecided
FROM job LEFT JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs ORDER BY job.id;

-- name: workflow_views
-- A workflow, as the planner sees its jobs.
SELECT id, revision, archived IS NOT NULL AS archived, directory FROM workflow WHERE id = :workflow;

-- name: live_folders
-- The folders of live attempts, the attempts that they build on, and their definitions and those of their jobs.
SELECT attempt.id, attempt.folder, attempt.builds_on, attempt.template AS ran_as, job.template FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs;

-- name: parent_views
-- Jobs that are only parents of those, as the planner sees them.
SELECT job.id, job.name, job.state, job.version, CASE WHEN attempt.undecided IS NULL THEN 0 ELSE 1 END
FROM job LEFT JOIN attempt ON attempt.id = job.attempt WHERE job.id IN @jobs;

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

-- name: restores_more
-- 1 if undo restores more of a job than its attempt, else 0.
CASE WHEN held IS NULL AND canceled = 0 AND next_attempt IS NULL THEN 0 ELSE 1 END;

-- name: bound_jobs
-- The number of these jobs that have a version, and the number for which undo restores more than the attempt.
SELECT count(*), coalesce(sum({restores_more}), 0) FROM job WHERE id IN @jobs AND version = :version;

-- name: restoring
-- The jobs with a version for which undo restores more than the attempt.
SELECT id FROM job WHERE id IN @jobs AND version = :version AND {restores_more} = 1;

-- name: pointers
-- What a rerun changes of jobs beside their attempts. `alone`: the job, if it has overrides, which a revision may drop.
SELECT id, held, canceled, next_attempt, CASE WHEN overrides IS NOT NULL THEN id END AS alone
FROM job WHERE id IN @jobs;

-- name: insert_rerun
-- An applied plan.
INSERT INTO rerun (id, kind, at, digest, request, note, refused, warnings, expected, overwrites, jobs)
VALUES ((SELECT coalesce(max(id), 0) + 1 FROM rerun), :kind, :at, :digest, :request, :note, :refused, :warnings,
    :expected, :overwrites, :jobs)
RETURNING id;

-- name: insert_rerun_change
-- What a rerun does to each of a set of jobs, and what undo restores of them.
-- distinct row: rerun, number, before, after, unmet, start, keeps, reasons, archives, next_attempt, changes, saves, stays, holds, releases, held, canceled, next_before
INSERT INTO rerun_change (rerun, number, before, after, unmet, start, keeps, reasons, archives, next_attempt, changes,
    saves, stays, holds, releases, held, canceled, next_before)
VALUES (:rerun, :number, :before, :after, :unmet, :start, :keeps, :reasons, :archives, :next_attempt, :changes,
    :saves, :stays, :holds, :releases, :held, :canceled, :next_before);

-- name: insert_rerun_job
-- A job of an applied plan.
-- distinct row: rerun, job, change, version, attempt, own, upstream
INSERT INTO rerun_job (rerun, job, change, version, attempt, own, upstream)
VALUES (:rerun, :job, :change, :version, :attempt, :own, :upstream);

-- name: record_saved
-- The outputs of a job that were saved.
-- distinct row: saved, rerun, job
UPDATE rerun_job SET saved = :saved WHERE rerun = :rerun AND job = :job;

-- name: record_kept
-- The live attempts of the jobs that a rerun does not reset.
UPDATE rerun_job SET attempt = job.attempt FROM job, rerun_change
WHERE rerun_job.rerun = :rerun AND job.id = rerun_job.job AND rerun_change.rerun = rerun_job.rerun
    AND rerun_change.number = rerun_job.change AND rerun_change.stays = 1;

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
-- Archive the attempts that a rerun archives. Those that have not ended are asked to cancel. A rerun decides failures.
UPDATE attempt SET archived_by = rerun_job.rerun, undecided = NULL,
    cancel = CASE WHEN attempt.state IN (2, 3) THEN 1 ELSE attempt.cancel END
FROM rerun_job, rerun_change
WHERE rerun_job.rerun = :rerun AND attempt.id = rerun_job.attempt AND attempt.archived_by IS NULL
    AND rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change AND rerun_change.stays = 0;

-- name: of_own
-- A next attempt of a change as it is for a job.
CASE WHEN rerun_job.own IS NULL THEN {of_change} ELSE replace(replace(replace({of_change},
    '"resume_attempt":-1', '"resume_attempt":' || CAST(rerun_job.own AS TEXT)),
    '"pinned_to":-1', '"pinned_to":' || CAST(rerun_job.own AS TEXT)),
    '"reuse_candidate":-1', '"reuse_candidate":' || CAST(rerun_job.own AS TEXT)) END;

-- name: of_change
-- The next attempt of a change, with the rerun that keeps its resume point.
replace(rerun_change.next_attempt, '"keep_recovery":0', '"keep_recovery":' || CAST(rerun_job.rerun AS TEXT));

-- name: reset_jobs
-- Reset the jobs of a rerun, in so far as they have the version that its plan was bound to.
UPDATE job SET state = rerun_change.after, unmet = rerun_change.unmet, attempt = NULL, canceled = 0, delayed_since = :now,
    held = CASE WHEN rerun_change.releases = 1 THEN NULL ELSE coalesce(rerun_change.holds, job.held) END,
    next_attempt = {of_own}, version = job.version + 1
FROM rerun_job, rerun_change
WHERE rerun_job.rerun = :rerun AND job.id = rerun_job.job AND job.version = rerun_job.version
    AND rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change AND rerun_change.stays = 0;

-- name: keep_jobs
-- The same for the jobs that are not reset: their states follow from their parents.
UPDATE job SET state = rerun_change.after, unmet = rerun_change.unmet,
    held = CASE WHEN rerun_change.releases = 1 THEN NULL ELSE coalesce(rerun_change.holds, job.held) END,
    version = job.version + 1
FROM rerun_job, rerun_change
WHERE rerun_job.rerun = :rerun AND job.id = rerun_job.job AND job.version = rerun_job.version
    AND rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change AND rerun_change.stays = 1;

-- name: moved_counts
-- How many jobs of each workflow and class each change of a rerun has moved from one state to another.
WITH moved (number, workflow, resource_class, n) AS (
    SELECT rerun_job.change, job.workflow, job.resource_class, count(*)
    FROM rerun_job JOIN job ON job.id = rerun_job.job WHERE rerun_job.rerun = :rerun GROUP BY 1, 2, 3
)
SELECT moved.workflow, moved.resource_class, rerun_change.before, rerun_change.after, moved.n
FROM moved JOIN rerun_change ON rerun_change.rerun = :rerun AND rerun_change.number = moved.number;

-- name: classes
-- The workflows and resource classes of jobs.
SELECT id, workflow, resource_class FROM job WHERE id IN @jobs;

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

-- name: rerun_changes
-- The changes of a rerun.
SELECT number, before, after, unmet, start, keeps, reasons, archives, next_attempt, changes, saves, stays, holds, releases
FROM rerun_change WHERE rerun = :rerun ORDER BY number;

-- name: rerun_jobs
-- The jobs of a rerun.
SELECT rerun_job.change, rerun_job.job, job.name, rerun_job.version, rerun_job.own, rerun_job.upstream
FROM rerun_job JOIN job ON job.id = rerun_job.job WHERE rerun_job.rerun = :rerun ORDER BY rerun_job.job;

-- name: upstream_names
-- The names of the jobs that the reasons of a rerun name.
SELECT id, name FROM job WHERE id IN (SELECT upstream FROM rerun_job WHERE rerun = :rerun);

-- name: back
-- The jobs of a rerun as they are now.
SELECT job.id, job.name, job.state FROM rerun_job JOIN job ON job.id = rerun_job.job
WHERE rerun_job.rerun = :rerun ORDER BY job.id;

-- name: record_reuse_check
-- The result of a reuse check, with the newest rerun in force that set the candidate, or (0) reset the job.
-- row: checked, job, candidate
UPDATE rerun_job SET checked = :checked
WHERE job = :job AND rerun = (
    SELECT max(setting.rerun) FROM rerun_job AS setting JOIN rerun ON rerun.id = setting.rerun
        JOIN rerun_change ON rerun_change.rerun = setting.rerun AND rerun_change.number = setting.change
    WHERE setting.job = :job AND rerun_change.stays = 0 AND rerun.undone IS NULL
        AND (:candidate = 0 OR CAST(json_extract(rerun_change.next_attempt, '$.reuse_candidate') AS BIGINT)
            IN (:candidate, CASE setting.own WHEN :candidate THEN -1 END))
);

-- name: reuse_checks
-- The results of checking the reuse candidates that a rerun set.
SELECT job, checked FROM rerun_job WHERE rerun = :rerun AND checked IS NOT NULL;

-- name: newest_manual
-- The newest rerun that a user requested and that is not undone.
SELECT max(id) FROM rerun WHERE kind IN ('manual', 'restart', 'run', 'reset', 'accept', 'complete') AND undone IS NULL;

-- name: saved
-- The outputs of an attempt that the rerun which archived it has saved.
SELECT rerun_job.saved FROM attempt
    JOIN rerun_job ON rerun_job.rerun = attempt.archived_by AND rerun_job.job = attempt.job
WHERE attempt.id = :attempt;

-- name: saved_outputs
-- The jobs of a rerun with saved outputs.
SELECT rerun_job.job, rerun_job.saved, job.workflow, rerun_job.change
FROM rerun_job JOIN job ON job.id = rerun_job.job
WHERE rerun_job.rerun = :rerun AND rerun_job.saved IS NOT NULL ORDER BY rerun_job.job;

-- name: started_since
-- The jobs of a rerun that have started since, and those that have used an attempt that it recorded. `reused_from`: the
-- attempt that has completed one without running.
SELECT job.id, job.name, attempt.reused_from FROM rerun_job JOIN job ON job.id = rerun_job.job JOIN attempt ON attempt.id = job.attempt
WHERE rerun_job.rerun = :rerun AND (rerun_job.attempt IS NULL OR job.attempt <> rerun_job.attempt)
    AND (attempt.completed_by IS NULL OR attempt.completed_by <> :rerun)
UNION
SELECT job.id, job.name, attempt.reused_from FROM attempt AS made JOIN edge ON edge.parent = made.job JOIN job ON job.id = edge.child
    JOIN attempt ON attempt.id = job.attempt
    JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'needed'
WHERE made.completed_by = :rerun AND (attempt.completed_by IS NULL OR attempt.completed_by <> :rerun)
    AND CAST(json_extract(fingerprint.document, '$."' || CAST(made.job AS TEXT) || '"') AS BIGINT) = made.id
ORDER BY 1;

-- name: canceled_by
-- The attempts that a rerun has asked to cancel and that have completed.
SELECT attempt.id, job.name FROM rerun_job
    JOIN rerun_change ON rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change
    JOIN job ON job.id = rerun_job.job JOIN attempt ON attempt.id = rerun_job.attempt
WHERE rerun_job.rerun = :rerun AND rerun_change.before IN (2, 3) AND attempt.state = 4 ORDER BY attempt.id;

-- name: retries
-- How often jobs have been retried by reruns of a kind since a user last reset them.
SELECT rerun_job.job, count(*) FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
WHERE rerun_job.job IN @jobs AND rerun.kind = :kind AND rerun.undone IS NULL AND rerun_job.rerun > coalesce((
    SELECT max(reset.rerun) FROM rerun_job AS reset JOIN rerun AS asked ON asked.id = reset.rerun
        JOIN rerun_change ON rerun_change.rerun = reset.rerun AND rerun_change.number = reset.change
    WHERE reset.job = rerun_job.job AND rerun_change.stays = 0 AND asked.kind IN ('manual', 'restart', 'run', 'reset', 'complete', 'canary')
        AND asked.undone IS NULL
), 0)
GROUP BY rerun_job.job;

-- name: retried
-- The retries of jobs with their reasons, and the attempts that they led to (null: none yet). A retry is left out if
-- another rerun reset the job before it ran.
WITH retry AS (
    SELECT rerun_job.rerun, rerun_job.job, rerun_change.reasons, (
        SELECT min(following.id)
        FROM attempt AS failed JOIN attempt AS following ON following.job = failed.job AND following.id > failed.id
        WHERE failed.job = rerun_job.job AND failed.archived_by = rerun.id
    ) AS attempt
    FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
        JOIN rerun_change ON rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change
    WHERE rerun_job.job IN @jobs AND rerun.kind = 'retry' AND rerun.undone IS NULL
)
SELECT retry.job, retry.attempt, retry.reasons FROM retry LEFT JOIN attempt ON attempt.id = retry.attempt
WHERE NOT EXISTS (
    SELECT 1 FROM rerun_job AS reset JOIN rerun ON rerun.id = reset.rerun
        JOIN rerun_change ON rerun_change.rerun = reset.rerun AND rerun_change.number = reset.change
    WHERE reset.job = retry.job AND reset.rerun > retry.rerun AND rerun_change.stays = 0
        AND rerun_change.archives = '[]'
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

-- name: later_reruns
-- Newer reruns in force that touched the same jobs. Revisions do not change what undo restores.
SELECT earlier.job, job.name, later.rerun
FROM rerun JOIN rerun_job AS later ON later.rerun = rerun.id
    JOIN rerun_job AS earlier ON earlier.rerun = :rerun AND earlier.job = later.job JOIN job ON job.id = earlier.job
WHERE rerun.id > :rerun AND rerun.undone IS NULL AND rerun.kind <> 'revision' ORDER BY earlier.job, later.rerun;

-- name: restore_jobs
-- Restore the pointers of the jobs of a rerun.
UPDATE job SET attempt = rerun_job.attempt, held = rerun_change.held, canceled = rerun_change.canceled,
    next_attempt = rerun_change.next_before, version = job.version + 1
FROM rerun_job, rerun_change
WHERE rerun_job.rerun = :rerun AND job.id = rerun_job.job
    AND rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change;

-- name: reclassified
-- The jobs of a rerun with overrides, before or after it.
SELECT rerun_job.job FROM rerun_change
    JOIN rerun_job ON rerun_job.rerun = rerun_change.rerun AND rerun_job.change = rerun_change.number
WHERE rerun_change.rerun = :rerun AND (json_extract(rerun_change.next_attempt, '$.overrides') IS NOT NULL
    OR json_extract(rerun_change.next_before, '$.overrides') IS NOT NULL);

-- name: revive_attempts
-- The attempts that a rerun archived are live again.
UPDATE attempt SET archived_by = NULL FROM rerun_job
WHERE rerun_job.rerun = :rerun AND attempt.id = rerun_job.attempt AND attempt.archived_by = :rerun;

-- name: archive_recorded
-- Archive the attempts that an undone rerun recorded.
UPDATE attempt SET archived_by = :rerun WHERE completed_by = :rerun AND archived_by IS NULL;

-- name: rerun_and_children
-- The jobs of a rerun, and the jobs that need them.
SELECT job FROM rerun_job WHERE rerun = :rerun
UNION
SELECT edge.child FROM rerun_job JOIN edge ON edge.parent = rerun_job.job WHERE rerun_job.rerun = :rerun;

-- name: mark_undone
-- Mark a rerun undone.
UPDATE rerun SET undone = :now WHERE id = :rerun AND undone IS NULL;

-- name: bump_versions
-- Mark that plans which read the jobs of a rerun are outdated.
UPDATE job SET version = version + 1 WHERE id IN (SELECT job FROM rerun_job WHERE rerun = :rerun);

-- name: workflows_of_rerun
-- The workflows of the jobs of a rerun, with the number of these jobs.
SELECT job.workflow, count(*) FROM rerun_job JOIN job ON job.id = rerun_job.job
WHERE rerun_job.rerun = :rerun GROUP BY job.workflow ORDER BY job.workflow;
