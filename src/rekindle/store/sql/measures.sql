-- What measuring attempts reads, of many at once.

-- name: subjects
-- Attempts, beside what their jobs are now; in the order of rekindle.domain.changes.prints.Subject.
SELECT attempt.id, attempt.state, attempt.template, attempt.revision, coalesce(attempt.binding, job.binding),
    attempt.overrides, attempt.code, attempt.folder, attempt.queued, job.id, job.name, job.workflow, job.template,
    job.binding, job.attempt, job.pinned_to, job.overrides
FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.id IN @attempts ORDER BY job.id;

-- name: needs
-- What jobs need.
SELECT child, parent FROM edge WHERE child IN @jobs;

-- name: needed_jobs
-- Jobs that others need, in the order of rekindle.domain.changes.prints.NeededJob.
SELECT job.id, job.name, job.state, job.attempt, job.template, attempt.result IS NOT NULL
FROM job LEFT JOIN attempt ON attempt.id = job.attempt WHERE job.id IN @jobs;

-- name: results
-- What attempts left for the jobs that need theirs.
SELECT id, template, result FROM attempt WHERE id IN @attempts;

-- name: origins
-- What attempts were made from.
SELECT attempt.id, attempt.template, attempt.revision, coalesce(attempt.binding, job.binding)
FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.id IN @attempts;

-- name: accepted_at
-- When reruns were applied.
SELECT id, at FROM rerun WHERE id IN @reruns;

-- name: bodies
-- Templates by id.
SELECT id, body FROM template WHERE id IN @templates;

-- name: ended
-- The live attempts of jobs that have ended, of jobs that are not retired.
SELECT job.id, attempt.id FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs AND job.retired = 0 AND attempt.state >= 4;

-- name: above
-- Everything above some jobs.
WITH RECURSIVE reached (id) AS (
    SELECT edge.parent FROM edge WHERE edge.child IN @jobs
    UNION
    SELECT edge.parent FROM reached JOIN edge ON edge.child = reached.id
)
SELECT id FROM reached;

-- name: checked
-- What came of the newest look at whether the reserve of jobs still held.
SELECT rerun_job.job, max(rerun_job.rerun), rerun_job.reserve, rerun_job.checked
FROM rerun_job JOIN rerun ON rerun.id = rerun_job.rerun
WHERE rerun_job.job IN @jobs AND rerun_job.checked IS NOT NULL AND rerun.undone IS NULL GROUP BY rerun_job.job;

-- name: written
-- The files that live attempts of some workflows have written: their outputs, and what they named and wrote.
SELECT DISTINCT attempt.workflow, json_extract(output.value, '$.path')
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'files',
    json_each(fingerprint.document, '$.outputs') AS output
WHERE attempt.workflow IN @workflows AND attempt.archived_by IS NULL
UNION
SELECT DISTINCT attempt.workflow, json_extract(input.value, '$.path')
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'files',
    json_each(fingerprint.document, '$.inputs') AS input
WHERE attempt.workflow IN @workflows AND attempt.archived_by IS NULL AND json_extract(input.value, '$.named') = 'written';

-- name: spans
-- When attempts of some workflows ran; one that still runs has no end yet.
SELECT workflow, started, coalesce(ended, 1e18) FROM attempt
WHERE workflow IN @workflows AND started IS NOT NULL ORDER BY workflow, started;

-- name: pending
-- What has not started, by workflow and resource class, from the counts.
SELECT workflow_count.workflow, workflow_count.resource_class, sum(workflow_count.n)
FROM workflow_count JOIN workflow ON workflow.id = workflow_count.workflow
WHERE workflow_count.state IN (0, 1) AND workflow_count.n > 0 AND workflow.archived IS NULL
GROUP BY workflow_count.workflow, workflow_count.resource_class
ORDER BY workflow_count.workflow, workflow_count.resource_class;
