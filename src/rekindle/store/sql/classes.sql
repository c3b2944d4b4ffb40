-- Resource classes: jobs that take the same are packed together.

-- name: classed
-- What the class of jobs follows from.
SELECT id, workflow, resource_class, state, retired, template, overrides FROM job WHERE id IN @jobs;

-- name: set_class
-- Give a job its class. Nothing that a plan rests on: its version stays.
-- row: resource_class, job
UPDATE job SET resource_class = :resource_class WHERE id = :job;

-- name: doubtful
-- Jobs whose class is not simply their template's.
SELECT job.id, job.name, job.resource_class, job.template, job.overrides
FROM job JOIN template ON template.id = job.template
WHERE job.overrides IS NOT NULL OR job.resource_class <> template.resource_class ORDER BY job.id;
