-- What a forecast reads: unfinished jobs, their needs, and how long the attempts of the past took.

-- name: workflows
-- The workflows with unfinished jobs that are not archived: the name, and how many jobs.
SELECT workflow.id, workflow.name, sum(workflow_count.n)
FROM workflow JOIN workflow_count ON workflow_count.workflow = workflow.id
WHERE workflow.archived IS NULL AND workflow_count.state < 4
GROUP BY workflow.id, workflow.name HAVING sum(workflow_count.n) > 0 ORDER BY workflow.id;

-- name: jobs
-- The jobs of workflows that have not completed.
SELECT job.id, job.workflow, job.template, job.state, job.priority, job.resource_class, job.held IS NOT NULL AS held,
    job.canceled, job.when_finished, attempt.started, attempt.runner, job.next_attempt
FROM job LEFT JOIN attempt ON attempt.id = job.attempt
WHERE job.workflow IN @workflows AND job.retired = 0 AND job.state <> 4 ORDER BY job.id;

-- name: needs
-- The needs of waiting jobs, also those that have completed.
SELECT edge.parent, edge.child FROM job JOIN edge ON edge.child = job.id
WHERE job.workflow IN @workflows AND job.state = 0 AND job.retired = 0;

-- name: names
-- The names of jobs.
SELECT id, name FROM job WHERE id IN @jobs;

-- name: retried
-- How long the attempts took that were retried as their policies say, of jobs that have these templates now.
SELECT job.template, attempt.ended - attempt.started
FROM job JOIN attempt ON attempt.job = job.id JOIN rerun ON rerun.id = attempt.archived_by
WHERE job.workflow IN (SELECT workflow FROM template WHERE id IN @templates) AND job.template IN @templates
    AND rerun.kind = 'retry' AND attempt.state = 5 AND attempt.started IS NOT NULL;
