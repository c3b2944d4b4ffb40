-- What staleness checks and cost estimates read, for many attempts or jobs at once.

-- name: subject_columns
-- An attempt beside the current definition of a job; the columns of
-- rekindle.domain.changes.fingerprints.MeasuredAttempt, by name.
attempt.id AS attempt, attempt.state, attempt.template, attempt.revision,
coalesce(attempt.binding, owner.binding) AS binding, attempt.overrides, attempt.code, attempt.folder, attempt.queued,
job.id AS job, job.name, job.workflow, job.template AS template_now, job.binding AS binding_now,
job.attempt AS live, job.pinned_to, job.overrides AS overrides_now, attempt.workflow AS made_in,
attempt.builds_on;

-- name: subjects
-- Attempts beside their jobs' current definitions.
SELECT {subject_columns} FROM attempt JOIN job ON job.id = attempt.job JOIN job AS owner ON owner.id = attempt.job
WHERE attempt.id IN @attempts ORDER BY job.id;

-- name: candidates
-- Attempts beside the current definitions of the jobs that they may complete: `pairs` is a list of {"job", "attempt"}.
SELECT {subject_columns} FROM json_each(CAST(:pairs AS TEXT)) AS pair
    JOIN attempt ON attempt.id = CAST(json_extract(pair.value, '$.attempt') AS BIGINT)
    JOIN job ON job.id = CAST(json_extract(pair.value, '$.job') AS BIGINT) JOIN job AS owner ON owner.id = attempt.job
ORDER BY job.id;

-- name: subjects_of_jobs
-- Jobs as attempts that used their current definitions would be compared with them. The number of such an attempt is that
-- of the job, negated.
SELECT -job.id AS attempt, 4 AS state, job.template, workflow.revision, job.binding, job.overrides,
    CAST(NULL AS TEXT) AS code, CAST(NULL AS TEXT) AS folder, CAST(NULL AS DOUBLE PRECISION) AS queued,
    job.id AS job, job.name, job.workflow, job.template AS template_now, job.binding AS binding_now,
    -job.id AS live, CAST(NULL AS BIGINT) AS pinned_to, job.overrides AS overrides_now, job.workflow AS made_in,
    CAST(NULL AS BIGINT) AS builds_on
FROM job JOIN workflow ON workflow.id = job.workflow WHERE job.id IN @jobs ORDER BY job.id;

-- name: needs
-- The jobs that jobs need.
SELECT child, parent FROM edge WHERE child IN @jobs;

-- name: needed_jobs
-- Jobs that others need.
SELECT job.id, job.name, job.state, job.attempt, job.template, attempt.result IS NOT NULL AS has_result
FROM job LEFT JOIN attempt ON attempt.id = job.attempt WHERE job.id IN @jobs;

-- name: results
-- The results of attempts, and the attempts that they stand for.
SELECT id, template, result, coalesce(nullif(reused_from, 0), id) AS came_from FROM attempt WHERE id IN @attempts;

-- name: origins
-- The definitions that attempts had.
SELECT attempt.id, attempt.template, attempt.revision, coalesce(attempt.binding, job.binding) AS binding
FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.id IN @attempts;

-- name: accepted_at
-- When reruns were applied.
SELECT id, at FROM rerun WHERE id IN @reruns;

-- name: templates
-- Templates by id.
SELECT id, body FROM template WHERE id IN @templates;

-- name: live_ended
-- Live attempts that have ended, of jobs that are not retired.
SELECT job.id, attempt.id FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs AND job.retired = 0 AND attempt.state >= 4;

-- name: ancestors
-- All jobs above some jobs.
WITH RECURSIVE reached (id) AS (
    SELECT edge.parent FROM edge WHERE edge.child IN @jobs
    UNION
    SELECT edge.parent FROM reached JOIN edge ON edge.child = reached.id
)
SELECT id FROM reached;

-- name: reuse_checks
-- The newest reuse check of jobs.
SELECT rerun_job.job, rerun_job.rerun,
    CASE CAST(json_extract(rerun_change.next_attempt, '$.reuse_candidate') AS BIGINT) WHEN -1 THEN rerun_job.own
        ELSE CAST(json_extract(rerun_change.next_attempt, '$.reuse_candidate') AS BIGINT) END AS reuse_candidate,
    rerun_job.checked
FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
    JOIN rerun_change ON rerun_change.rerun = rerun_job.rerun AND rerun_change.number = rerun_job.change
WHERE rerun_job.job IN @jobs AND rerun_job.checked IS NOT NULL AND rerun.undone IS NULL AND NOT EXISTS (
    SELECT 1 FROM rerun_job AS newer JOIN rerun AS checking ON checking.id = newer.rerun
    WHERE newer.job = rerun_job.job AND newer.rerun > rerun_job.rerun AND newer.checked IS NOT NULL
        AND checking.undone IS NULL
);

-- name: written
-- The files that live attempts of workflows wrote: outputs, and files that their commands name.
SELECT DISTINCT attempt.workflow, json_extract(output.value, '$.path')
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'files',
    json_each(fingerprint.document, '$.outputs') AS output
WHERE attempt.workflow IN @workflows AND attempt.archived_by IS NULL
UNION
SELECT DISTINCT attempt.workflow, json_extract(input.value, '$.path')
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'files',
    json_each(fingerprint.document, '$.inputs') AS input
WHERE attempt.workflow IN @workflows AND attempt.archived_by IS NULL AND json_extract(input.value, '$.named') IN ('written', 'made');

-- name: spans
-- When attempts of workflows ran. A running attempt has no end yet.
SELECT workflow, started, coalesce(ended, 1e18) AS ended FROM attempt
WHERE workflow IN @workflows AND started IS NOT NULL ORDER BY workflow, started;
