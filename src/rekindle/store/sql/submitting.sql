-- Submitting a definition as a workflow, or as the next revision of one.

-- name: highest_job
-- The highest job id that was ever used, deleted workflows included.
SELECT coalesce(max(id), 0) FROM (
    SELECT max(id) AS id FROM job
    UNION ALL
    SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_job'
) AS used;

-- name: highest_workflow
-- The highest workflow id that was ever used.
SELECT coalesce(max(id), 0) FROM (
    SELECT max(id) AS id FROM workflow
    UNION ALL
    SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_workflow'
) AS used;

-- name: insert_workflow
-- A new workflow at its first revision.
INSERT INTO workflow (id, name, project, directory, source, source_digest, revision, submitted)
VALUES (:id, :name, :project, :directory, :source, :source_digest, 1, :submitted);

-- name: insert_revision
-- A submitted definition.
INSERT INTO revision (workflow, number, submitted, params, source_digest, hooks)
VALUES (:workflow, :number, :submitted, :params, :source_digest, :hooks);

-- name: count_runners
-- Runners that have not ended: their journals name attempts.
SELECT count(*) FROM runner WHERE ended IS NULL;

-- name: highest_stored_attempt
-- The highest attempt id in the store.
SELECT coalesce(max(id), 0) FROM attempt;

-- name: begin_ids_again
-- New jobs and attempts follow the highest ids in the store.
DELETE FROM meta WHERE key = 'highest_job' OR key = 'highest_attempt';

-- name: begin_attempts_after
-- The highest attempt id that is in use without a row.
INSERT INTO meta (key, value) VALUES ('highest_attempt', CAST(:attempt AS TEXT));

-- name: begin_versions_again
-- New jobs have higher versions than all deleted ones.
INSERT INTO meta (key, value)
SELECT 'first_version', CAST(CAST(value AS BIGINT) + 1 AS TEXT) FROM meta WHERE key = 'highest_version'
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT);

-- name: first_version
-- The version of a new job.
SELECT coalesce(max(CAST(value AS BIGINT)), 0) FROM meta WHERE key = 'first_version';

-- name: insert_job
-- A new job, READY or WAITING.
-- distinct row: id, workflow, name, template, binding, state, unmet, version, priority, resource_class, when_finished
INSERT INTO job (id, workflow, name, template, binding, state, unmet, version, priority, resource_class, when_finished)
VALUES (:id, :workflow, :name, :template, :binding, :state, :unmet, :version, :priority, :resource_class,
    :when_finished);

-- name: insert_edge
-- The child needs the parent.
-- distinct row: parent, child
INSERT INTO edge (parent, child) VALUES (:parent, :child);

-- name: latest_revision
-- The number of a workflow's latest revision.
SELECT revision FROM workflow WHERE id = :id;

-- name: params
-- The parameters of a revision.
SELECT params FROM revision WHERE workflow = :workflow AND number = :revision;

-- name: advance_workflow
-- Make a revision the latest.
UPDATE workflow SET revision = :revision, project = :project, source = :source, source_digest = :source_digest
WHERE id = :id;

-- name: delete_edge
-- Remove an edge.
-- row: parent, child
DELETE FROM edge WHERE parent = :parent AND child = :child;

-- name: submitted_edges
-- The edges of a workflow that no action added.
SELECT edge.parent, edge.child FROM job JOIN edge ON edge.parent = job.id
WHERE job.workflow = :workflow AND edge.added_by IS NULL;

-- name: submitted_columns
-- A job as a revision compares it.
job.id, job.name, job.template, job.binding, job.retired, job.next_attempt, job.state, job.version, job.when_finished;

-- name: submitted_jobs
-- The jobs of a workflow that no action added, retired ones included, in the order of the definition. `{scope}` is the
-- condition on the workflow (see rekindle.store.predicates:workflow_scope).
SELECT {submitted_columns} FROM job WHERE {scope} AND job.added_by IS NULL ORDER BY job.id;

-- name: some_submitted_jobs
-- These jobs, as a revision compares them.
SELECT {submitted_columns} FROM job WHERE job.id IN @jobs;

-- name: keep_binding
-- Before a job gets other matrix values: its attempts keep those that they ran with.
-- row: job
UPDATE attempt SET binding = (SELECT binding FROM job WHERE id = :job) WHERE job = :job AND binding IS NULL;

-- name: redefine_job
-- Give a job the template and binding of a revision. A retired job comes back.
-- row: id, template, binding, priority, resource_class, when_finished, next_attempt
UPDATE job
SET template = :template, binding = :binding, priority = :priority, resource_class = :resource_class,
    when_finished = :when_finished, next_attempt = :next_attempt, retired = 0, version = version + 1
WHERE id = :id;

-- name: retire_jobs
-- Jobs that the latest revision leaves out.
UPDATE job SET retired = 1, version = version + 1 WHERE id IN @jobs;

-- name: bump_versions
-- Mark that plans which read these jobs are outdated.
UPDATE job SET version = version + 1 WHERE id IN @jobs;

-- name: overridden_jobs
-- The jobs of a workflow with overrides.
SELECT id, name, template, next_attempt FROM job WHERE workflow = :workflow AND overrides IS NOT NULL;

-- name: overridden_pointers
-- The next attempts with overrides that undo would restore for jobs of a workflow. Each such job has a change of its own.
SELECT rerun_change.rerun, rerun_change.number, job.id AS job, job.template, rerun_change.next_before
FROM rerun_change JOIN rerun ON rerun.id = rerun_change.rerun
    JOIN rerun_job ON rerun_job.rerun = rerun_change.rerun AND rerun_job.change = rerun_change.number
    JOIN job ON job.id = rerun_job.job
WHERE job.workflow = :workflow AND rerun.undone IS NULL
    AND json_extract(rerun_change.next_before, '$.overrides') IS NOT NULL;

-- name: set_overrides
-- Keep only the overrides that a revision has not outdated.
-- row: next_attempt, job
UPDATE job SET next_attempt = :next_attempt, version = version + 1 WHERE id = :job;

-- name: set_next_before
-- Change the next attempts that undo would restore.
-- row: next_before, rerun, number
UPDATE rerun_change SET next_before = :next_before WHERE rerun = :rerun AND number = :number;

-- name: clear_counts
-- Delete a workflow's counts before counting again.
DELETE FROM workflow_count WHERE workflow = :workflow;

-- name: count_again
-- Count a workflow's jobs.
INSERT INTO workflow_count (workflow, resource_class, state, part, n)
SELECT workflow, resource_class, state, 0, count(*) FROM job
WHERE workflow = :workflow AND retired = 0 GROUP BY workflow, resource_class, state;
