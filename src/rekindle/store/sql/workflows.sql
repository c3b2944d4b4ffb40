-- Reading, archiving and changing workflows.

-- name: templates_in_use
-- The templates of the jobs that are not retired.
SELECT id, body FROM template
WHERE id IN (SELECT DISTINCT template FROM job WHERE workflow = :workflow AND retired = 0) ORDER BY id;

-- name: templates
-- Templates by id.
SELECT id, body FROM template WHERE id IN @templates;

-- name: params
-- The parameters of a revision.
SELECT params FROM revision WHERE workflow = :workflow AND number = :revision;

-- name: set_source
-- Set the path of a workflow's spec file.
UPDATE workflow SET source = :source WHERE id = :id;

-- name: edges
-- Every edge of a workflow.
SELECT edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id
WHERE job.workflow = :workflow ORDER BY edge.parent, edge.child;

-- name: workflow_columns
-- Every column of a workflow that a listing shows.
id, name, directory, revision, submitted, project, source, source_digest, archived;

-- name: workflow_by_id
-- One workflow.
SELECT {workflow_columns} FROM workflow WHERE id = :id;

-- name: workflow_by_name
-- The newest workflow of a name, preferably one that is not archived.
SELECT {workflow_columns} FROM workflow WHERE id = coalesce(
    (SELECT id FROM workflow WHERE name = :name AND archived IS NULL ORDER BY id DESC LIMIT 1),
    (SELECT id FROM workflow WHERE name = :name ORDER BY id DESC LIMIT 1)
);

-- name: workflow_listing
-- Workflows, oldest first; archived ones only with `archived`.
SELECT {workflow_columns} FROM workflow WHERE archived IS NULL OR :archived = 1 ORDER BY id;

-- name: directories
-- The folders of the workflows that are not archived.
SELECT DISTINCT directory FROM workflow WHERE archived IS NULL;

-- name: workflows_of_jobs
-- The workflows of jobs.
SELECT {workflow_columns} FROM workflow WHERE id IN (SELECT workflow FROM job WHERE id IN @jobs) ORDER BY id;

-- name: counts_of_some
-- The job counts of some workflows by state.
SELECT workflow, state, sum(n) FROM workflow_count WHERE workflow IN @workflows
GROUP BY workflow, state HAVING sum(n) <> 0 ORDER BY workflow, state;

-- name: counts_of_all
-- The job counts of each workflow by state.
SELECT workflow, state, sum(n) FROM workflow_count
GROUP BY workflow, state HAVING sum(n) <> 0 ORDER BY workflow, state;

-- name: total_counts
-- The job counts of all workflows that are not archived, by state.
SELECT workflow_count.state, sum(workflow_count.n)
FROM workflow_count JOIN workflow ON workflow.id = workflow_count.workflow
WHERE workflow.archived IS NULL GROUP BY workflow_count.state HAVING sum(workflow_count.n) <> 0
ORDER BY workflow_count.state;

-- name: counts_of_one
-- The job counts of a workflow by state.
SELECT state, sum(n) FROM workflow_count WHERE workflow = :workflow
GROUP BY state HAVING sum(n) <> 0 ORDER BY state;

-- name: set_archived
-- Archive a workflow, or bring it back.
UPDATE workflow SET archived = :at WHERE id = :id;

-- name: span
-- When a workflow's first attempt started and its last one ended.
SELECT min(started) AS started, max(ended) AS ended FROM workflow_span WHERE workflow = :id;

-- name: set_rerun
-- The rerun that holds the plan of a revision.
UPDATE revision SET rerun = :rerun WHERE workflow = :workflow AND number = :number;

-- name: revisions
-- The revisions of a workflow, oldest first.
SELECT number, submitted, source_digest, rerun FROM revision WHERE workflow = :workflow ORDER BY number;

-- name: job_status
-- The states and unmet counts of jobs.
SELECT id, name, state, unmet FROM job WHERE id IN @jobs ORDER BY id;
