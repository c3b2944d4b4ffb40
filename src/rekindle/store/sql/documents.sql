-- Outlines of workflows.

-- name: of_workflows
-- Workflows that have a parameter, with all their parameters.
SELECT workflow.id, workflow.submitted,
    (
        SELECT coalesce(max(ended), min(started), workflow.submitted)
        FROM workflow_span WHERE workflow_span.workflow = workflow.id
    ) AS updated,
    workflow.archived IS NOT NULL AS archived, revision.params
FROM workflow JOIN revision ON revision.workflow = workflow.id AND revision.number = workflow.revision
WHERE json_type(revision.params, :path) IS NOT NULL ORDER BY workflow.id;

-- name: jobs_of_workflows
-- The jobs of workflows.
SELECT workflow, id, state, held, when_finished FROM job
WHERE workflow IN @workflows AND retired = 0 ORDER BY id;

-- name: edges_of_workflows
-- The edges of workflows, without those of retired jobs.
SELECT job.workflow, edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id JOIN job AS child ON child.id = edge.child
WHERE job.workflow IN @workflows AND job.retired = 0 AND child.retired = 0 ORDER BY edge.parent, edge.child;
