-- Absolute paths in columns and documents, for the migration that encodes them: see rekindle.store.upgrading.

-- name: workflow_directory
-- Those at or below a folder (:root), with the sign that stands for it.
UPDATE workflow SET directory = :sign || substr(directory, length(:root) + 1)
WHERE directory = :root OR substr(directory, 1, length(:root) + 1) = :root || '/';

-- name: workflow_source
-- Those at or below a folder (:root), with the sign that stands for it.
UPDATE workflow SET source = :sign || substr(source, length(:root) + 1)
WHERE source = :root OR substr(source, 1, length(:root) + 1) = :root || '/';

-- name: job_folder
-- Those at or below a folder (:root), with the sign that stands for it.
UPDATE job SET folder = :sign || substr(folder, length(:root) + 1)
WHERE folder = :root OR substr(folder, 1, length(:root) + 1) = :root || '/';

-- name: attempt_folder
-- Those at or below a folder (:root), with the sign that stands for it.
UPDATE attempt SET folder = :sign || substr(folder, length(:root) + 1)
WHERE folder = :root OR substr(folder, 1, length(:root) + 1) = :root || '/';

-- name: file_path
-- Those at or below a folder (:root), with the sign that stands for it.
UPDATE file SET path = :sign || substr(path, length(:root) + 1)
WHERE path = :root OR substr(path, 1, length(:root) + 1) = :root || '/';

-- name: fingerprints
-- What workers recorded of files, by attempt.
SELECT attempt, document FROM fingerprint WHERE part = 'files';

-- name: put_fingerprint
-- The same, encoded.
-- row: document, attempt
UPDATE fingerprint SET document = :document WHERE attempt = :attempt AND part = 'files';

-- name: accepted
-- What was accepted, by attempt and rerun.
SELECT attempt, rerun, document FROM accepted;

-- name: put_accepted
-- The same, encoded.
-- row: document, attempt, rerun
UPDATE accepted SET document = :document WHERE attempt = :attempt AND rerun = :rerun;

-- name: requests
-- What was asked of reruns.
SELECT id, request FROM rerun;

-- name: put_request
-- The same, encoded.
-- row: request, id
UPDATE rerun SET request = :request WHERE id = :id;

-- name: rerun_jobs
-- The documents of what reruns did to jobs.
SELECT rerun, job, reasons, pointers, manner, saved, checked FROM rerun_job;

-- name: put_rerun_job
-- The same, encoded.
-- row: reasons, pointers, manner, saved, checked, rerun, job
UPDATE rerun_job SET reasons = :reasons, pointers = :pointers, manner = :manner, saved = :saved, checked = :checked
WHERE rerun = :rerun AND job = :job;
