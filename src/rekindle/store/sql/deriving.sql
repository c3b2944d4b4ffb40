-- What follows from attempts and edges: see rekindle.domain.lifecycle.derive_state.

-- name: pointers
-- Jobs as they stand, with the state of their live attempt.
SELECT job.id, job.workflow, job.resource_class, job.state, job.unmet, job.canceled, job.retired, attempt.state,
    job.when_finished
FROM job LEFT JOIN attempt ON attempt.id = job.attempt WHERE job.id IN @jobs;

-- name: needs
-- What jobs need, and how that stands.
SELECT edge.child, edge.parent, job.state FROM edge JOIN job ON job.id = edge.parent WHERE edge.child IN @jobs;

-- name: set_derived
-- Write what was derived.
-- row: state, unmet, job
UPDATE job SET state = :state, unmet = :unmet, version = version + 1 WHERE id = :job;
