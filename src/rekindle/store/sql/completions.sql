-- Names and ids that complete a word of the command line. Each list is bounded by :limit. A name begins with what was
-- typed if it is at least :low and below :high.

-- name: workflow_names
-- Workflows that are not archived, the newest first.
SELECT name, id FROM workflow WHERE archived IS NULL AND name >= :low AND name < :high ORDER BY id DESC LIMIT :limit;

-- name: job_names
-- Jobs of a workflow, or with null of all workflows that are not archived, the newest workflow's first.
SELECT job.name, job.state FROM workflow CROSS JOIN job
WHERE job.workflow = workflow.id AND job.name >= :low AND job.name < :high AND job.retired = 0
    AND (workflow.id = :workflow OR (:workflow IS NULL AND workflow.archived IS NULL))
ORDER BY workflow.id DESC, job.name LIMIT :limit;

-- name: template_bodies
-- Templates of a workflow, or with null of all workflows that are not archived, the newest first.
SELECT template.name, template.body FROM template JOIN workflow ON workflow.id = template.workflow
WHERE (workflow.id = :workflow OR (:workflow IS NULL AND workflow.archived IS NULL))
    AND template.name >= :low AND template.name < :high
ORDER BY template.id DESC LIMIT :limit;

-- name: parameter_texts
-- The parameters of the latest revisions, those of the newest workflow first.
SELECT revision.params FROM workflow JOIN revision
    ON revision.workflow = workflow.id AND revision.number = workflow.revision
WHERE workflow.id = :workflow OR (:workflow IS NULL AND workflow.archived IS NULL)
ORDER BY workflow.id DESC LIMIT :limit;

-- name: revision_numbers
-- The revisions of a workflow, by its name or id, the newest first.
SELECT number FROM revision WHERE workflow = coalesce(
    (SELECT max(id) FROM workflow WHERE name = :name), (SELECT id FROM workflow WHERE CAST(id AS TEXT) = :name)
) ORDER BY number DESC LIMIT :limit;

-- name: newest_jobs
-- The newest jobs.
SELECT id, name, state FROM job WHERE retired = 0 ORDER BY id DESC LIMIT :limit;

-- name: newest_signatures
-- The newest signatures of failures.
SELECT digest, type, message FROM signature ORDER BY id DESC LIMIT :limit;

-- name: newest_reruns
-- The newest reruns.
SELECT id, kind, jobs, note FROM rerun ORDER BY id DESC LIMIT :limit;

-- name: newest_attempts
-- The newest attempts.
SELECT attempt.id, job.name, attempt.number, attempt.state, attempt.cause
FROM attempt JOIN job ON job.id = attempt.job ORDER BY attempt.id DESC LIMIT :limit;

-- name: newest_tokens
-- The newest tokens that have not been revoked.
SELECT id, name FROM api_token WHERE revoked IS NULL ORDER BY id DESC LIMIT :limit;
