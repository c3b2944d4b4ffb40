-- Dynamic actions: what attempts staged, and the action sets in force.

-- name: staged
-- The actions that completed steps of attempts staged, in the order of the steps.
SELECT step.attempt, step.position, step.name, step.action FROM step
WHERE step.attempt IN @attempts AND step.action IS NOT NULL AND step.state = 4 ORDER BY step.attempt, step.position;

-- name: attempts_in_force
-- The attempts of jobs whose action sets are in force.
SELECT id, job FROM attempt WHERE job IN @jobs AND acts = 1 ORDER BY id;

-- name: added_jobs
-- The jobs that sets added and that are not retired.
SELECT added_by, id, name FROM job WHERE added_by IN @attempts AND retired = 0 ORDER BY id;

-- name: added_edges
-- The edges that sets added.
SELECT added_by, parent, child FROM edge WHERE added_by IN @attempts ORDER BY parent, child;

-- name: patches_of_attempts
-- The patches in force of sets.
SELECT attempt, job, change FROM patch WHERE attempt IN @attempts AND in_force = 1 ORDER BY id;

-- name: patches_of_jobs
-- The patches in force on jobs, in order.
SELECT job, change, attempt FROM patch WHERE job IN @jobs AND in_force = 1 ORDER BY id;

-- name: last_patches
-- The last patch in force on each job, without those of an attempt.
SELECT job, change FROM patch WHERE id IN (
    SELECT (
        SELECT last.id FROM patch AS last WHERE last.job = job.id AND last.in_force = 1 AND last.attempt <> :without
        ORDER BY last.id DESC LIMIT 1
    ) FROM job WHERE job.id IN @jobs
);

-- name: added_by_job
-- Every job that a job's attempts have added.
SELECT job.name, job.id FROM attempt JOIN job ON job.added_by = attempt.id WHERE attempt.job = :job ORDER BY job.id;

-- name: adders
-- The attempts that added jobs, with the jobs of the attempts.
SELECT job.id AS added, attempt.id AS attempt, attempt.number, attempt.job, adder.name
FROM job JOIN attempt ON attempt.id = job.added_by JOIN job AS adder ON adder.id = attempt.job
WHERE job.id IN @jobs;

-- name: dynamic_names
-- The names of the jobs that actions added to a workflow, retired ones included.
SELECT name FROM job WHERE workflow = :workflow AND added_by IS NOT NULL ORDER BY id;

-- name: count_dynamic_edges
-- The number of edges of a workflow that actions added.
SELECT count(*) FROM edge JOIN job ON job.id = edge.child WHERE edge.added_by IS NOT NULL AND job.workflow = :workflow;

-- name: descendants
-- All jobs below some jobs.
WITH RECURSIVE reached (id) AS (
    SELECT edge.child FROM edge WHERE edge.parent IN @jobs
    UNION
    SELECT edge.child FROM reached JOIN edge ON edge.parent = reached.id
)
SELECT id FROM reached;

-- name: unstarted
-- The jobs of a workflow that have not started and are not canceled.
SELECT id FROM job WHERE workflow = :workflow AND retired = 0 AND attempt IS NULL AND canceled = 0 ORDER BY id;

-- name: next_job
-- The first free job id.
SELECT coalesce(max(id), 0) + 1 FROM (
    SELECT max(id) AS id FROM job
    UNION ALL
    SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_job'
) AS used;

-- name: insert_added
-- A job that an action adds. Its state and unmet count are derived afterwards.
-- row: id, workflow, name, version, template, binding, priority, resource_class, when_finished, added_by
INSERT INTO job (id, workflow, name, version, template, binding, state, unmet, priority, resource_class, when_finished,
    added_by)
VALUES (:id, :workflow, :name, :version, :template, :binding, 1, 0, :priority, :resource_class, :when_finished,
    :added_by);

-- name: keep_bindings
-- Before jobs are added again: their attempts keep the matrix values that they ran with.
UPDATE attempt SET binding = (SELECT job.binding FROM job WHERE job.id = attempt.job)
WHERE job IN @jobs AND binding IS NULL;

-- name: redefine_added
-- A job that is added again: its new definition, and nothing of an earlier plan.
-- row: id, template, binding, priority, resource_class, when_finished, added_by
UPDATE job
SET template = :template, binding = :binding, priority = :priority, resource_class = :resource_class,
    when_finished = :when_finished, added_by = :added_by, retired = 0, canceled = 0,
    next_attempt = nullif(json_remove(next_attempt, '$.resume_attempt', '$.resume_step'), '{}'), version = version + 1
WHERE id = :id;

-- name: templates_of
-- The templates of jobs.
SELECT id, template FROM job WHERE id IN @jobs;

-- name: change_added
-- Change the definition of a job that an action added. Without :resumes, its resume point is dropped.
-- row: id, template, binding, priority, resource_class, when_finished, resumes
UPDATE job
SET template = :template, binding = :binding, priority = :priority, resource_class = :resource_class,
    when_finished = :when_finished, version = version + 1,
    next_attempt = CASE WHEN :resumes = 1 THEN next_attempt
        ELSE nullif(json_remove(next_attempt, '$.resume_attempt', '$.resume_step'), '{}') END
WHERE id = :id AND added_by IS NOT NULL;

-- name: insert_edge
-- An edge that a set adds. An existing edge keeps its origin.
-- row: parent, child, added_by
INSERT INTO edge (parent, child, added_by) VALUES (:parent, :child, :added_by) ON CONFLICT (parent, child) DO NOTHING;

-- name: edges_of_sets
-- The edges that are removed when sets end and jobs retire.
SELECT parent, child, added_by FROM edge WHERE added_by IN @attempts
UNION SELECT parent, child, added_by FROM edge WHERE parent IN @jobs AND added_by IS NOT NULL
UNION SELECT parent, child, added_by FROM edge WHERE child IN @jobs AND added_by IS NOT NULL
ORDER BY 1, 2;

-- name: delete_edge
-- Remove an edge.
-- row: parent, child
DELETE FROM edge WHERE parent = :parent AND child = :child;

-- name: insert_patch
-- A patch of a set.
-- row: attempt, job, change
INSERT INTO patch (attempt, job, change) VALUES (:attempt, :job, :change);

-- name: hold
-- Hold a job that is not held.
-- row: reason, job
UPDATE job SET held = :reason WHERE id = :job AND held IS NULL;

-- name: end_hold
-- Release a job that is held for this reason.
-- row: reason, job
UPDATE job SET held = NULL WHERE id = :job AND held = :reason AND retired = 0;

-- name: set_canceled
-- Cancel jobs that have no attempt, or revert that.
UPDATE job SET canceled = :canceled WHERE id IN @jobs AND attempt IS NULL AND retired = 0;

-- name: set_retired
-- Retire jobs, or bring them back.
UPDATE job SET retired = :retired WHERE id IN @jobs;

-- name: set_in_force
-- Put the patches of sets in or out of force.
UPDATE patch SET in_force = :in_force WHERE attempt IN @attempts;

-- name: set_acts
-- Put sets in or out of force.
UPDATE attempt SET acts = :acts WHERE id IN @attempts;

-- name: bump_versions
-- Mark that plans which read these jobs are outdated.
UPDATE job SET version = version + 1 WHERE id IN @jobs;

-- name: count_keys
-- How jobs are counted.
SELECT workflow, resource_class, state FROM job WHERE id IN @jobs AND retired = 0;

-- name: retired_among
-- Those jobs that are retired.
SELECT id, name FROM job WHERE id IN @jobs AND retired = 1 ORDER BY id;
