-- Columns that follow from other rows: see rekindle.domain.states.derive_state and rekindle.domain.graph.
-- A job is idle if it has no attempt, is not canceled, and needs all its parents completed.

-- name: add_to_count
-- Add to a part of a job count.
-- distinct row: workflow, resource_class, state, part, n
INSERT INTO workflow_count (workflow, resource_class, state, part, n)
VALUES (:workflow, :resource_class, :state, :part, :n)
ON CONFLICT (workflow, resource_class, state, part) DO UPDATE SET n = workflow_count.n + excluded.n;

-- name: spans_of
-- The workflows of attempts, each with the first start and the last end of these attempts.
SELECT workflow, min(started), max(ended) FROM attempt WHERE id IN @attempts GROUP BY workflow;

-- name: extend_span
-- Extend a part of the time between the first start and the last end of the attempts of a workflow.
-- distinct row: workflow, part, started, ended
INSERT INTO workflow_span (workflow, part, started, ended) VALUES (:workflow, :part, :started, :ended)
ON CONFLICT (workflow, part) DO UPDATE SET
    started = CASE WHEN workflow_span.started <= excluded.started OR excluded.started IS NULL
        THEN workflow_span.started ELSE excluded.started END,
    ended = CASE WHEN workflow_span.ended >= excluded.ended OR excluded.ended IS NULL
        THEN workflow_span.ended ELSE excluded.ended END;

-- name: not_met
-- The edges from jobs without a live attempt that has completed.
edge JOIN job AS parent ON parent.id = edge.parent LEFT JOIN attempt AS ran ON ran.id = parent.attempt
WHERE (ran.state IS NULL OR ran.state <> 4);

-- name: underived
-- Jobs whose state or unmet count does not follow from live attempts and edges, and all with `when: finished`.
WITH needing (child, n) AS (SELECT edge.child, count(*) FROM {not_met} AND edge.child IN @jobs GROUP BY edge.child)
SELECT job.id, job.workflow, job.resource_class, job.state, job.unmet, job.canceled, job.retired,
    attempt.state AS attempt_state, job.when_finished, coalesce(needing.n, 0) AS needs
FROM job LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN needing ON needing.child = job.id
WHERE job.id IN @jobs AND (job.when_finished = 1 OR job.unmet <> coalesce(needing.n, 0) OR job.state <> CASE
    WHEN attempt.id IS NOT NULL THEN attempt.state
    WHEN job.canceled <> 0 THEN 6
    WHEN needing.n IS NOT NULL THEN 0
    ELSE 1
END);

-- name: unmet_needs
-- The parents of jobs that have not completed.
SELECT edge.child, edge.parent FROM {not_met} AND edge.child IN @jobs;

-- name: set_derived
-- Write a derived state and unmet count.
-- distinct row: state, unmet, job
UPDATE job SET state = :state, unmet = :unmet, version = version + 1 WHERE id = :job;

-- name: has_lenient_jobs
-- Whether any job has `when: finished`, by the partial index of such jobs.
SELECT EXISTS (SELECT 1 FROM job WHERE when_finished = 1);

-- name: has_finish_dependents
-- The same for the workflows of these jobs.
SELECT EXISTS (
    SELECT 1 FROM job WHERE when_finished = 1 AND workflow IN (SELECT workflow FROM job AS one WHERE one.id IN @jobs)
);

-- name: idle
-- 1 if a job is idle, else 0.
CASE WHEN job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0 THEN 1 ELSE 0 END;

-- name: below
-- The children of jobs, and through idle ones their descendants: whether each is idle, and whether it has
-- `when: finished`.
WITH RECURSIVE reached (id, idle, when_finished) AS (
    SELECT job.id, {idle}, job.when_finished
    FROM edge JOIN job ON job.id = edge.child WHERE edge.parent IN @jobs
    UNION
    SELECT job.id, {idle}, job.when_finished
    FROM reached JOIN edge ON edge.parent = reached.id JOIN job ON job.id = edge.child WHERE reached.idle = 1
)
SELECT id, idle, when_finished FROM reached;

-- name: upward
-- Jobs, and through idle ones their ancestors.
WITH RECURSIVE reached (id, idle) AS (
    SELECT job.id, {idle} FROM job WHERE job.id IN @jobs
    UNION
    SELECT job.id, {idle}
    FROM reached JOIN edge ON edge.child = reached.id JOIN job ON job.id = edge.parent WHERE reached.idle = 1
);

-- name: ended_above
-- Of jobs and their ancestors through idle ones: which are idle, and which have failed or were canceled, unless that
-- waits for a decision.
{upward}
SELECT reached.id, reached.idle,
    (attempt.state IN (5, 6) AND attempt.undecided IS NULL) OR (attempt.id IS NULL AND job.canceled <> 0) AS gave_up
FROM reached JOIN job ON job.id = reached.id LEFT JOIN attempt ON attempt.id = job.attempt;

-- name: edges_above
-- The edges into the idle ones of them.
{upward}
SELECT edge.parent, edge.child FROM reached JOIN edge ON edge.child = reached.id WHERE reached.idle = 1;

-- name: class_inputs
-- The columns that the resource class of a job follows from.
SELECT id, workflow, resource_class, state, retired, template, overrides FROM job WHERE id IN @jobs;

-- name: set_class
-- Write the resource class of a job. Plans do not depend on the class, so the version stays.
-- row: resource_class, job
UPDATE job SET resource_class = :resource_class WHERE id = :job;

-- name: unusual_classes
-- Jobs whose class is not simply that of their template.
SELECT job.id, job.name, job.resource_class, job.template, job.overrides
FROM job JOIN template ON template.id = job.template
WHERE job.overrides IS NOT NULL OR job.resource_class <> template.resource_class ORDER BY job.id;
