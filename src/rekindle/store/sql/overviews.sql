-- What a glance at workflows shows: counts by workflow. Each is read from a partial index of few rows.

-- name: delayed
-- Delayed ready jobs. (With `+`, SQLite uses the index of delays, not that of workflows.)
SELECT +job.workflow, count(*) FROM job
WHERE job.not_before > :now AND job.state = 1 AND job.held IS NULL AND job.retired = 0
GROUP BY 1;

-- name: leaving
-- Archived attempts that have not ended.
SELECT +workflow, count(*) FROM attempt WHERE archived_by IS NOT NULL AND state IN (2, 3) GROUP BY 1;

-- name: overtaken
-- Completed jobs that need a job that is not done.
SELECT workflow, count(*) FROM job WHERE state = 4 AND unmet > 0 AND retired = 0 GROUP BY workflow;

-- name: by_hand
-- Live attempts that a person recorded.
SELECT +workflow, count(*) FROM attempt WHERE completed_by IS NOT NULL AND archived_by IS NULL GROUP BY 1;

-- name: undecided
-- Failures that wait for a decision, by what they wait for.
SELECT +workflow, undecided, count(*) FROM attempt
WHERE undecided IS NOT NULL AND archived_by IS NULL GROUP BY 1, 2 ORDER BY 1, 2;

-- name: verdicts
-- Jobs by verdict.
SELECT +attempt.workflow, attempt.verdict, count(*) FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.verdict IN ('warning', 'blocker') AND attempt.archived_by IS NULL AND job.retired = 0
GROUP BY 1, 2;

-- name: with_canaries
-- Workflows with a group of canaries that is undecided or stopped.
SELECT DISTINCT workflow FROM canary_group WHERE outcome IS NULL OR outcome = 'stopped';

-- name: any_rerun_forbidden
-- A template of a workflow, of any revision, whose text does not say that its jobs may run twice.
SELECT id FROM template WHERE workflow = :workflow AND body NOT LIKE :allowed LIMIT 1;

-- name: pending
-- The counts of jobs that have not started, by workflow and resource class.
SELECT workflow_count.workflow, workflow_count.resource_class, sum(workflow_count.n) AS n
FROM workflow_count JOIN workflow ON workflow.id = workflow_count.workflow
WHERE workflow_count.state IN (0, 1) AND workflow.archived IS NULL
GROUP BY workflow_count.workflow, workflow_count.resource_class HAVING sum(workflow_count.n) > 0
ORDER BY workflow_count.workflow, workflow_count.resource_class;
