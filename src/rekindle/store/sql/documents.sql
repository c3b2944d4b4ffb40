-- The pieces that documents of jobs are made of. Each is the text of a JSON value, or NULL; {part} stands for such a
-- piece. They stand where select_jobs of predicates.sql looks.

-- name: asked
-- What a query asks for: `matches` is a function of rekindle.store.shapes, as are the others that SQLite has not.
matches({query}, {document});

-- name: documents_of_jobs
-- Jobs with a document of each.
SELECT job.id, {document}
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN template ON template.id = job.template
    LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE {where} ORDER BY job.id;

-- name: among
-- These jobs alone.
job.id IN @jobs;

-- name: constant
-- A value that was bound as JSON.
{value};

-- name: scalar
-- A field of a kind that JSON has.
json_quote({field});

-- name: truth
-- A field that is true or false.
(CASE {field} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END);

-- name: moment
-- A time, as text.
json_quote(strftime('%Y-%m-%dT%H:%M:%f', {field}, 'unixepoch'));

-- name: label
-- A state, as text.
(CASE {field} WHEN 0 THEN '"waiting"' WHEN 1 THEN '"ready"' WHEN 2 THEN '"queued"' WHEN 3 THEN '"running"'
    WHEN 4 THEN '"completed"' WHEN 5 THEN '"failed"' WHEN 6 THEN '"canceled"' END);

-- name: lines
-- Fields, one beneath the other.
json_quote({parts});

-- name: line
-- One of them.
coalesce({field} || char(10), '');

-- name: within
-- What lies at a path; SQLite has no truth values but in JSON.
(CASE json_type({part}, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
    ELSE json_quote(json_extract({part}, {path})) END);

-- name: matrix
-- The job's matrix values.
job.binding;

-- name: params
-- The job's parameters: the latest revision's, with what actions have in force.
(CASE WHEN EXISTS (SELECT 1 FROM patch WHERE patch.job = job.id AND patch.in_force = 1) THEN effective(
    (SELECT params FROM revision WHERE revision.workflow = job.workflow AND revision.number = workflow.revision),
    (SELECT json_group_array(json(change)) FROM (
        SELECT change FROM patch WHERE patch.job = job.id AND patch.in_force = 1 ORDER BY patch.id)))
ELSE (SELECT params FROM revision WHERE revision.workflow = job.workflow AND revision.number = workflow.revision) END);

-- name: result
-- The attempt's result.
attempt.result;

-- name: steps
-- The results of the attempt's steps, joined.
(SELECT joined(json_group_array(json(result))) FROM (
    SELECT step.result FROM step WHERE step.attempt = attempt.id AND step.result IS NOT NULL ORDER BY step.position));

-- name: put_over
-- An object with others over it.
put_over({part}, {by}, {key}, {apart});

-- name: object
-- An object of named pieces.
json_object({parts});

-- name: entry
-- One of them.
{key}, json({part});

-- name: items
-- A list of pieces.
json_array({parts});

-- name: item
-- One of them.
json({part});

-- name: live
-- A list of what is made of each of the job's live attempts.
(SELECT json_group_array(json(one)) FROM (
    SELECT {part} AS one FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
    WHERE attempt.job = job.id AND attempt.archived_by IS NULL ORDER BY attempt.id));

-- name: archived
-- The same of its archived ones.
(SELECT json_group_array(json(one)) FROM (
    SELECT {part} AS one FROM attempt LEFT JOIN signature ON signature.id = attempt.signature
    WHERE attempt.job = job.id AND attempt.archived_by IS NOT NULL ORDER BY attempt.id));

-- name: choice
-- The first whose condition holds.
(CASE {parts} END);

-- name: case
-- One of them.
WHEN {where} THEN {part};

-- name: of_workflows
-- Workflows whose parameters have one of a name, with these.
SELECT workflow.id, workflow.submitted, coalesce(workflow.ended, workflow.started, workflow.submitted),
    workflow.archived IS NOT NULL, revision.params
FROM workflow JOIN revision ON revision.workflow = workflow.id AND revision.number = workflow.revision
WHERE json_type(revision.params, :path) IS NOT NULL ORDER BY workflow.id;

-- name: jobs_of_workflows
-- The jobs of workflows.
SELECT workflow, id, state, held FROM job WHERE workflow IN @workflows AND retired = 0 ORDER BY id;

-- name: edges_of_workflows
-- What needs what in workflows, retired jobs aside.
SELECT job.workflow, edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id JOIN job AS child ON child.id = edge.child
WHERE job.workflow IN @workflows AND job.retired = 0 AND child.retired = 0 ORDER BY edge.parent, edge.child;
