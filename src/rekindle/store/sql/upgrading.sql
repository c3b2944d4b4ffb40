-- The migration that encodes absolute paths in columns and documents: see rekindle.store.schema.encode_paths.

-- name: workflow_directory
-- Encode the paths at or below a folder (:root) with the sign that stands for it.
UPDATE workflow SET directory = :sign || substr(directory, length(:root) + 1)
WHERE directory = :root OR substr(directory, 1, length(:root) + 1) = :root || '/';

-- name: workflow_source
-- Encode the paths at or below a folder (:root) with the sign that stands for it.
UPDATE workflow SET source = :sign || substr(source, length(:root) + 1)
WHERE source = :root OR substr(source, 1, length(:root) + 1) = :root || '/';

-- name: job_folder
-- Encode the paths at or below a folder (:root) with the sign that stands for it.
UPDATE job SET folder = :sign || substr(folder, length(:root) + 1)
WHERE folder = :root OR substr(folder, 1, length(:root) + 1) = :root || '/';

-- name: attempt_folder
-- Encode the paths at or below a folder (:root) with the sign that stands for it.
UPDATE attempt SET folder = :sign || substr(folder, length(:root) + 1)
WHERE folder = :root OR substr(folder, 1, length(:root) + 1) = :root || '/';

-- name: file_path
-- Encode the paths at or below a folder (:root) with the sign that stands for it.
UPDATE file SET path = :sign || substr(path, length(:root) + 1)
WHERE path = :root OR substr(path, 1, length(:root) + 1) = :root || '/';

-- name: fingerprints
-- File fingerprints by attempt.
SELECT attempt, document FROM fingerprint WHERE part = 'files';

-- name: put_fingerprint
-- An encoded fingerprint.
-- row: document, attempt
UPDATE fingerprint SET document = :document WHERE attempt = :attempt AND part = 'files';

-- name: accepted
-- Accepted bases by attempt and rerun.
SELECT attempt, rerun, document FROM accepted;

-- name: put_accepted
-- An encoded basis.
-- row: document, attempt, rerun
UPDATE accepted SET document = :document WHERE attempt = :attempt AND rerun = :rerun;

-- name: requests
-- The requests of reruns.
SELECT id, request FROM rerun;

-- name: put_request
-- An encoded request.
-- row: request, id
UPDATE rerun SET request = :request WHERE id = :id;

-- name: rerun_jobs
-- The documents of reruns' jobs.
SELECT rerun, job, reasons, pointers, manner, saved, checked FROM rerun_job;

-- name: put_rerun_job
-- Encoded documents of a rerun's job.
-- row: reasons, pointers, manner, saved, checked, rerun, job
UPDATE rerun_job SET reasons = :reasons, pointers = :pointers, manner = :manner, saved = :saved, checked = :checked
WHERE rerun = :rerun AND job = :job;
