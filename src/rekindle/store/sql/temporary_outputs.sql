-- Temporary outputs: which can be removed, which were, and who needs them.

-- name: newest_template
-- The newest template of the store.
SELECT coalesce(max(id), 0) FROM template;

-- name: declared_above
-- Whether a newer template has temporary outputs.
SELECT 1 FROM template WHERE id > :template AND body LIKE '%"temporary":["%' LIMIT 1;

-- name: done_with_consumers
-- A job with temporary outputs that are there, and that is done like all jobs that need it.
template.body LIKE '%"temporary":["%' AND job.state = 4 AND job.retired = 0 AND workflow.archived IS NULL
    AND NOT EXISTS (SELECT 1 FROM temporary_output WHERE temporary_output.attempt = job.attempt)
    AND EXISTS (
        SELECT 1 FROM edge JOIN job AS child ON child.id = edge.child WHERE edge.parent = job.id AND child.retired = 0
    )
    AND NOT EXISTS (
        SELECT 1 FROM edge JOIN job AS child ON child.id = edge.child LEFT JOIN attempt ON attempt.id = child.attempt
        WHERE edge.parent = job.id AND child.retired = 0
            AND (child.state <> 4 OR attempt.id IS NULL OR attempt.partial = 1)
    );

-- name: unneeded
-- Such jobs, with their live attempts.
SELECT job.id AS job, job.attempt, job.template
FROM template JOIN job ON job.template = template.id JOIN workflow ON workflow.id = job.workflow
WHERE {done_with_consumers} ORDER BY job.id;

-- name: unneeded_above
-- Those that some jobs need.
SELECT job.id AS job, job.attempt, job.template
FROM job JOIN template ON template.id = job.template JOIN workflow ON workflow.id = job.workflow
WHERE job.id IN (SELECT edge.parent FROM edge WHERE edge.child IN @children) AND {done_with_consumers} ORDER BY job.id;

-- name: consumers
-- (A job, a job that needs it, the live attempt of that) for jobs.
SELECT edge.parent, edge.child, job.attempt FROM edge JOIN job ON job.id = edge.child
WHERE edge.parent IN @jobs AND job.retired = 0 AND job.attempt IS NOT NULL ORDER BY edge.parent, edge.child;

-- name: decide
-- A temporary output is to be removed.
-- distinct row: attempt, name, path, decided
INSERT INTO temporary_output (attempt, name, path, decided) VALUES (:attempt, :name, :path, :decided)
ON CONFLICT (attempt, name) DO NOTHING;

-- name: pending
-- Temporary outputs that are still to be removed, and whether the attempt that wrote each is live.
SELECT temporary_output.attempt, temporary_output.name, temporary_output.path,
    CASE WHEN job.attempt = attempt.id THEN 1 ELSE 0 END AS live
FROM temporary_output JOIN attempt ON attempt.id = temporary_output.attempt JOIN job ON job.id = attempt.job
WHERE temporary_output.removed IS NULL ORDER BY temporary_output.attempt, temporary_output.name;

-- name: mark_removed
-- Temporary outputs were removed.
-- distinct row: removed, attempt, name
UPDATE temporary_output SET removed = :removed WHERE attempt = :attempt AND name = :name;

-- name: put_back
-- The temporary outputs of attempts are in their places again.
DELETE FROM temporary_output WHERE attempt IN @attempts;

-- name: removed_of
-- The temporary outputs of attempts that were removed, or are to be.
SELECT attempt, name, path, decided FROM temporary_output WHERE attempt IN @attempts ORDER BY attempt, name;

-- name: removed_for
-- (A job, a removed temporary output of a job that it needs, of the live attempt of that) for jobs.
SELECT edge.child, edge.parent, temporary_output.name, temporary_output.path, temporary_output.decided
FROM edge JOIN job ON job.id = edge.parent JOIN temporary_output ON temporary_output.attempt = job.attempt
WHERE edge.child IN @jobs ORDER BY edge.child, edge.parent, temporary_output.name;

-- name: needed_by_waiting
-- The same for the jobs of a workflow that have not started.
SELECT edge.child, edge.parent, temporary_output.name, temporary_output.path, temporary_output.decided
FROM job AS waiting JOIN edge ON edge.child = waiting.id JOIN job ON job.id = edge.parent
    JOIN temporary_output ON temporary_output.attempt = job.attempt
WHERE waiting.workflow = :workflow AND waiting.state IN (0, 1) AND waiting.retired = 0
ORDER BY edge.child, edge.parent, temporary_output.name;
