-- Jobs: selecting and reading them, and the flags beside their states.

-- name: job_columns
-- Every column of a job.
job.id, job.workflow, job.name, job.state, job.template, job.binding, job.version, job.unmet, job.priority,
job.resource_class, job.held, job.canceled, job.retired, job.attempt, job.attempts, job.added_by,
job.next_attempt;

-- name: listed_columns
-- What documents of jobs depend on; first what differs between jobs that are alike. A resource class and the rows of
-- other tables that a document shows are the same for all jobs with equal values.
job.id, job.name, job.binding, job.attempt, attempt.started, attempt.ended, job.workflow, job.state, job.held,
job.retired, job.attempts, job.unmet, job.priority, job.resource_class, job.added_by, job.next_attempt, attempt.cause,
attempt.exit_code, attempt.evidence, attempt.verdict, attempt.verdict_message, attempt.signature;

-- name: jobs_by_id
-- Jobs by id.
SELECT {job_columns} FROM job WHERE job.id IN @jobs ORDER BY job.id;

-- name: flags
-- What decides whether jobs are held, released or canceled.
SELECT id, workflow, name, state, resource_class, held, retired, attempt FROM job WHERE id IN @jobs ORDER BY id;

-- name: workflows_of
-- The workflows of jobs.
SELECT DISTINCT workflow FROM job WHERE id IN @jobs ORDER BY workflow;

-- name: ids_that_exist
-- Ids that jobs have.
SELECT id FROM job WHERE id IN @jobs;

-- name: ids_in_workflow
-- Ids that jobs of a workflow have. (With `+`, the index of the workflow's jobs is not used.)
SELECT id FROM job WHERE id IN @jobs AND +workflow = :workflow;

-- name: named
-- The jobs of exactly these names, in workflows that are not archived.
SELECT name, id, retired FROM job
WHERE workflow IN (SELECT id FROM workflow WHERE archived IS NULL) AND name IN @names ORDER BY id;

-- name: named_in_workflow
-- The jobs of a workflow that have exactly these names.
SELECT name, id, retired FROM job WHERE workflow = :workflow AND name IN @names ORDER BY id;

-- name: template_names
-- The names of the templates of a workflow, or with null of all workflows that are not archived.
SELECT DISTINCT template.name FROM template JOIN workflow ON workflow.id = template.workflow
WHERE workflow.id = :workflow OR (:workflow IS NULL AND workflow.archived IS NULL) ORDER BY template.name;

-- name: not_held
-- Those of some jobs that are not held.
SELECT id, workflow FROM job WHERE id IN @jobs AND held IS NULL ORDER BY id;

-- name: held_otherwise
-- Those of some jobs that are not held for a reason.
SELECT id, workflow FROM job WHERE id IN @jobs AND (held IS NULL OR held <> :reason) ORDER BY id;

-- name: held
-- Those of some jobs that are held.
SELECT id, workflow FROM job WHERE id IN @jobs AND held IS NOT NULL ORDER BY id;

-- name: hold
-- Hold jobs for a reason, or release them.
UPDATE job SET held = :reason, version = version + 1 WHERE id IN @jobs;

-- name: count_held
-- The number of jobs that would be ready to run if they were not held, by reason.
SELECT job.held, count(*) FROM job JOIN workflow ON workflow.id = job.workflow
WHERE job.held IS NOT NULL AND job.state = 1 AND job.retired = 0 AND workflow.archived IS NULL
GROUP BY job.held ORDER BY job.held;

-- name: count_held_in_workflow
-- The same for one workflow.
SELECT held, count(*) FROM job WHERE workflow = :workflow AND held IS NOT NULL AND state = 1 AND retired = 0
GROUP BY held ORDER BY held;

-- name: cancel
-- Cancel jobs that have no live attempt, whose row would say so.
UPDATE job SET canceled = 1 WHERE id IN @jobs AND attempt IS NULL;

-- name: parents
-- The jobs that jobs need.
SELECT child, parent FROM edge WHERE child IN @jobs ORDER BY child, parent;

-- name: children
-- The jobs that need jobs.
SELECT parent, child FROM edge WHERE parent IN @jobs ORDER BY parent, child;

-- name: upstream
-- The jobs that jobs need, with their live attempts and the results of those that completed.
SELECT edge.child, job.name, CASE WHEN attempt.state = 4 THEN attempt.result END AS result, job.id AS job,
    attempt.id AS attempt, attempt.template, job.state, attempt.number, attempt.verdict, attempt.verdict_message,
    CASE WHEN attempt.state = 5 THEN coalesce(attempt.error_type, '') END AS error_type,
    attempt.error_message, attempt.error_traceback, attempt.error_stderr
FROM edge JOIN job ON job.id = edge.parent LEFT JOIN attempt ON attempt.id = job.attempt
WHERE edge.child IN @jobs ORDER BY edge.child, edge.parent;

-- name: versions
-- The versions that plans and selections depend on.
SELECT id, version, name FROM job WHERE id IN @jobs;
