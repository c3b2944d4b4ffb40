-- Fragments that selections are composed of. `{field}` is a block named field_*, `{value}` a bound parameter.

-- name: select_jobs
-- Jobs. Every fragment may use the joins: the job, its workflow, template and live attempt.
SELECT job.id{columns}
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN template ON template.id = job.template
    LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE {where} ORDER BY job.id;

-- name: list_jobs
-- A page of jobs, with these columns.
SELECT {values}
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN template ON template.id = job.template
    LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE {where} ORDER BY job.id LIMIT :limit OFFSET :offset;

-- name: page_jobs
-- Some rows of a sorted list of jobs, with the values that they are sorted by.
SELECT job.id, {field}
FROM job JOIN workflow ON workflow.id = job.workflow LEFT JOIN template ON template.id = job.template
    LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature
WHERE {where} ORDER BY {order} LIMIT :limit;

-- name: ids_upwards
-- By id.
job.id;

-- name: ids_downwards
-- The reverse.
job.id DESC;

-- name: upwards
-- Small values first; jobs without a value last.
({field} IS NULL), {field}, job.id;

-- name: upwards_backwards
-- The reverse.
({field} IS NULL) DESC, {field} DESC, job.id DESC;

-- name: downwards
-- Large values first; jobs without a value last.
({field} IS NULL), {field} DESC, job.id;

-- name: downwards_backwards
-- The reverse.
({field} IS NULL) DESC, {field}, job.id DESC;

-- name: count_jobs
-- The number of jobs. (SQLite does not leave out the joins of a count that nothing uses.)
SELECT count(*) FROM job JOIN workflow ON workflow.id = job.workflow{joins} WHERE {where};

-- name: join_template
-- The job's template.
LEFT JOIN template ON template.id = job.template;

-- name: join_attempt
-- The job's live attempt.
LEFT JOIN attempt ON attempt.id = job.attempt;

-- name: join_signature
-- The signature of the live attempt.
LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN signature ON signature.id = attempt.signature;

-- name: among
-- Only these jobs.
job.id IN @jobs;

-- name: in_workflow
-- The jobs of one workflow, archived or not.
job.workflow = :workflow;

-- name: in_large_workflow
-- The same for a workflow that has many of the store's jobs. (With `+`, jobs are read in the order of their ids, which
-- takes a tenth of the time that reading them by the index of names and sorting them takes.)
+job.workflow = :workflow;

-- name: is_large
-- Whether a workflow has at least a sixteenth of the store's jobs.
SELECT 16 * (SELECT coalesce(sum(n), 0) FROM workflow_count WHERE workflow = :workflow)
    >= (SELECT max(id) FROM job);

-- name: among_ended_badly
-- Of few jobs, by their partial index. (A condition on the state alone lets SQLite read all jobs in the order of ids.)
job.id IN (SELECT ended.id FROM job AS ended WHERE ended.state = 5 OR ended.state = 6);

-- name: among_active
-- Of the jobs with an attempt that has not ended, by the partial index of such attempts.
job.id IN (SELECT active.job FROM attempt AS active WHERE active.state IN (2, 3));

-- name: in_any_workflow
-- The jobs of all workflows that are not archived.
workflow.archived IS NULL;

-- name: not_retired
-- The jobs of the latest revision.
job.retired = 0;

-- name: true
-- Matches every job.
1 = 1;

-- name: false
-- Matches no job.
1 = 0;

-- name: not
-- A comparison with an absent value is neither true nor false; `not` matches everything that is not true.
({part}) IS NOT TRUE;

-- name: equal
-- One value.
{field} = {value};

-- name: not_equal
-- Any other value, or none.
({field} IS NULL OR {field} <> {value});

-- name: less
-- Below a value.
{field} < {value};

-- name: at_most
-- A value or below.
{field} <= {value};

-- name: greater
-- Above a value.
{field} > {value};

-- name: at_least
-- A value or above.
{field} >= {value};

-- name: one_of
-- Any of several values, bound as one JSON array.
{field} IN {value};

-- name: matches
-- A pattern of `*` and `?` matches the whole value.
glob({value}, {field});

-- name: present
-- The field has a value.
{field} IS NOT NULL;

-- name: absent
-- The field has no value.
{field} IS NULL;

-- name: state_waiting
-- WAITING. States are literals because SQLite uses a partial index only for the same expression.
job.state = 0;

-- name: state_ready
-- READY.
job.state = 1;

-- name: state_queued
-- QUEUED.
job.state = 2;

-- name: state_running
-- RUNNING.
job.state = 3;

-- name: state_completed
-- COMPLETED.
job.state = 4;

-- name: state_failed
-- FAILED.
job.state = 5;

-- name: state_canceled
-- CANCELED.
job.state = 6;

-- name: has_parameter
-- A parameter of the workflow's latest revision is there, and is not null.
(SELECT json_extract(revision.params, {path}) FROM revision
    WHERE revision.workflow = job.workflow AND revision.number = workflow.revision) IS NOT NULL;

-- name: error_live
-- The live attempt has an error.
coalesce(attempt.error_message, attempt.error_type, attempt.error_traceback, attempt.error_stderr) IS NOT NULL;

-- name: error_any
-- An attempt of the job has an error.
EXISTS (
    SELECT 1 FROM attempt AS past WHERE past.job = job.id AND coalesce(
        past.error_message, past.error_type, past.error_traceback, past.error_stderr) IS NOT NULL
);

-- name: record_columns
-- The last columns of a rekindle.store.candidates.JobRecord.
, job.workflow, workflow.revision, job.state, job.held, workflow.archived, job.binding;

-- name: field_id
-- The job's id.
job.id;

-- name: field_name
-- The job's name.
job.name;

-- name: field_template
-- The template's name, as in the spec.
template.name;

-- name: field_state
-- The job's state.
job.state;

-- name: field_held
-- Whether it is held.
(CASE WHEN job.held IS NULL THEN 0 ELSE 1 END);

-- name: field_held_reason
-- The reason for holding the job.
job.held;

-- name: field_retired
-- Whether a later revision left it out.
job.retired;

-- name: field_priority
-- The priority; the highest is claimed first.
job.priority;

-- name: field_attempts
-- The number of attempts.
job.attempts;

-- name: field_last_active
-- When an attempt of the job was last queued, started or ended.
(SELECT max(coalesce(past.ended, past.started, past.queued)) FROM attempt AS past WHERE past.job = job.id);

-- name: field_workflow
-- The workflow's name.
workflow.name;

-- name: field_workflow_id
-- The workflow's id.
workflow.id;

-- name: field_project
-- The workflow's project label.
workflow.project;

-- name: field_workflow_submitted
-- When the workflow was first submitted.
workflow.submitted;

-- name: field_workflow_archived
-- Whether the workflow is archived.
(CASE WHEN workflow.archived IS NULL THEN 0 ELSE 1 END);

-- name: field_cause
-- Why the live attempt did not succeed.
attempt.cause;

-- name: field_exit_code
-- The return code of its last command.
attempt.exit_code;

-- name: field_signal
-- The signal that killed it.
attempt.signal;

-- name: field_host
-- The host of the live attempt.
attempt.host;

-- name: field_runner
-- The label of the attempt's runner, or its host.
(SELECT coalesce(nullif(runner.label, ''), runner.host) FROM runner WHERE runner.id = attempt.runner);

-- name: field_verdict
-- The verdict of the live attempt.
attempt.verdict;

-- name: field_attempt_id
-- The live attempt's id.
attempt.id;

-- name: field_attempt_state
-- The live attempt's state.
attempt.state;

-- name: field_workdir
-- The attempt's absolute working directory: see rekindle.store.paths.
(CASE substr(attempt.folder, 1, 2)
    WHEN '@/' THEN :store_folder || substr(attempt.folder, 2) WHEN '@' THEN :store_folder
    WHEN './' THEN rtrim(:store_parent, '/') || substr(attempt.folder, 2) WHEN '.' THEN :store_parent
    ELSE attempt.folder END);

-- name: field_queued
-- When the attempt was handed to an executor.
attempt.queued;

-- name: field_started
-- When the attempt started.
attempt.started;

-- name: field_ended
-- When the attempt ended.
attempt.ended;

-- name: field_seconds
-- How long the attempt ran.
(attempt.ended - attempt.started);

-- name: field_cpu_seconds
-- CPU time.
attempt.cpu_seconds;

-- name: field_max_rss_bytes
-- Peak memory.
attempt.max_rss_bytes;

-- name: field_signature
-- The digest of the attempt's failure signature.
signature.digest;

-- name: field_error_type
-- Exception type; a command has none.
nullif(attempt.error_type, '');

-- name: field_error_message
-- Error message.
nullif(attempt.error_message, '');

-- name: field_error_traceback
-- Traceback.
nullif(attempt.error_traceback, '');

-- name: field_error_stderr
-- The tail of stderr.
nullif(attempt.error_stderr, '');
