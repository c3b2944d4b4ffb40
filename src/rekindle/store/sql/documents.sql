-- Fragments for documents of jobs, which need the joins of select_jobs in predicates.sql; and outlines of workflows.

-- name: asked
-- Whether a document matches a query. The functions are defined in rekindle.store.document_functions.
matches({query}, {layout}{values});

-- name: made
-- The text of a document.
document({layout}{values});

-- name: documents_of_jobs
-- Jobs, each with a document.
SELECT job.id, {document}
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN template ON template.id = job.template
    LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE {where} ORDER BY job.id;

-- name: among
-- Only these jobs.
job.id IN @jobs;

-- name: matrix
-- The job's matrix values.
job.binding;

-- name: params
-- The job's parameters: those of the latest revision, changed by the dynamic actions in force.
(CASE WHEN EXISTS (SELECT 1 FROM patch WHERE patch.job = job.id AND patch.in_force = 1) THEN effective(
    (SELECT params FROM revision WHERE revision.workflow = job.workflow AND revision.number = workflow.revision),
    (SELECT json_group_array(json(change)) FROM (
        SELECT change FROM patch WHERE patch.job = job.id AND patch.in_force = 1 ORDER BY patch.id)))
ELSE (SELECT params FROM revision WHERE revision.workflow = job.workflow AND revision.number = workflow.revision) END);

-- name: result
-- The attempt's result.
attempt.result;

-- name: steps
-- The results of the attempt's steps.
(SELECT json_group_array(json(result)) FROM (
    SELECT step.result FROM step WHERE step.attempt = attempt.id AND step.result IS NOT NULL ORDER BY step.position));

-- name: stopped_at
-- The position of the step that did not complete.
(SELECT min(step.position) FROM step
WHERE step.attempt = attempt.id AND step.state <> 4 AND step.kept_from IS NULL);

-- name: live
-- The values read from each of the job's live attempts.
(SELECT gathered(attempt.id, {values}) FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.job = job.id AND attempt.archived_by IS NULL);

-- name: archived
-- The values read from each of the job's archived attempts.
(SELECT gathered(attempt.id, {values}) FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE attempt.job = job.id AND attempt.archived_by IS NOT NULL);

-- name: of_workflows
-- Workflows that have a parameter, with all their parameters.
SELECT workflow.id, workflow.submitted, coalesce(workflow.ended, workflow.started, workflow.submitted) AS updated,
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
