-- Statistics over the attempts of jobs, live and archived.

-- name: ended
-- Whether an attempt passed or failed. One that was lost or canceled, or that a person completed, did neither.
((attempt.state = 4 AND attempt.completed_by IS NULL) OR (attempt.state = 5 AND coalesce(attempt.cause, '') <> 'lost'));

-- name: totals
-- The outcomes of the attempts of jobs.
SELECT attempt.job, count(*) FILTER (WHERE attempt.state = 4 AND {ended}) AS passes,
    count(*) FILTER (WHERE attempt.state = 5 AND {ended}) AS failures,
    count(*) FILTER (WHERE attempt.state = 6 OR coalesce(attempt.cause, '') = 'lost') AS lost, count(attempt.overrides) AS modified,
    max(CASE WHEN {ended} THEN attempt.ended END) AS last,
    max(CASE WHEN attempt.state = 5 AND {ended} THEN attempt.ended END) AS last_failure,
    max(CASE WHEN {ended} THEN attempt.id END) AS newest
FROM attempt WHERE attempt.state >= 4 AND attempt.job IN @jobs GROUP BY attempt.job;

-- name: equal_attempts
-- Attempts that passed or failed, grouped by definition and fingerprints.
SELECT attempt.job, attempt.workflow, attempt.template, attempt.revision,
    coalesce(attempt.binding, job.binding) AS binding, attempt.overrides, patched.document AS patched, attempt.code,
    attempt.partial, json_extract(files.document, '$.inputs') AS inputs,
    json_extract(files.document, '$.env') AS env, needed.document AS needed, count(*) FILTER (WHERE attempt.state = 4) AS passes,
    count(*) FILTER (WHERE attempt.state = 5) AS failures, min(CASE WHEN attempt.state = 5 THEN attempt.id END) AS first_failure,
    max(attempt.id) AS newest,
    coalesce(max(CASE WHEN attempt.state = 4 THEN attempt.id END), 0) = max(attempt.id) AS newest_passed
FROM job JOIN attempt ON attempt.job = job.id
    LEFT JOIN fingerprint AS files ON files.attempt = attempt.id AND files.part = 'files'
    LEFT JOIN fingerprint AS needed ON needed.attempt = attempt.id AND needed.part = 'needed'
    LEFT JOIN fingerprint AS patched ON patched.attempt = attempt.id AND patched.part = 'patched'
WHERE job.id IN @jobs AND {ended}
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;

-- name: failures
-- The failures of jobs by signature: how many, and the newest attempt.
SELECT attempt.job, signature.digest, signature.cause, signature.type, signature.message, count(*) AS n,
    max(attempt.id) AS newest
FROM attempt JOIN signature ON signature.id = attempt.signature
WHERE attempt.job IN @jobs AND attempt.state = 5 AND {ended} GROUP BY attempt.job, signature.id ORDER BY 6 DESC, 2;

-- name: hosts
-- The outcomes of jobs by host.
SELECT attempt.job, attempt.host, count(*) FILTER (WHERE attempt.state = 4) AS passes, count(*) FILTER (WHERE attempt.state = 5) AS failures FROM attempt
WHERE attempt.job IN @jobs AND attempt.host IS NOT NULL AND {ended}
GROUP BY attempt.job, attempt.host ORDER BY 4 DESC, 3 DESC, 2;

-- name: durations
-- How long attempts of jobs took that started at the first step and completed.
SELECT job, ended - started FROM attempt
WHERE job IN @jobs AND state = 4 AND start_step = 0 AND started IS NOT NULL;

-- name: templates_of
-- The templates of jobs.
SELECT id, template FROM job WHERE id IN @jobs;

-- name: durations_of_templates
-- The same for all jobs that have these templates now, by template.
SELECT job.template, attempt.ended - attempt.started FROM job JOIN attempt ON attempt.job = job.id
WHERE job.workflow IN (SELECT workflow FROM template WHERE id IN @templates) AND job.template IN @templates
    AND job.attempts > 0 AND attempt.state = 4 AND attempt.start_step = 0 AND attempt.started IS NOT NULL;

-- name: step_durations
-- How long the completed steps of the attempts of jobs took, by job and name.
SELECT attempt.job, step.name, step.ended - step.started FROM attempt JOIN step ON step.attempt = attempt.id
WHERE attempt.job IN @jobs AND step.state = 4 AND step.kept_from IS NULL AND step.started IS NOT NULL;

-- name: step_durations_of_templates
-- The same for all jobs that have these templates now, by template and name.
SELECT job.template, step.name, step.ended - step.started
FROM job JOIN attempt ON attempt.job = job.id JOIN step ON step.attempt = attempt.id
WHERE job.workflow IN (SELECT workflow FROM template WHERE id IN @templates) AND job.template IN @templates
    AND job.attempts > 0 AND step.state = 4 AND step.kept_from IS NULL AND step.started IS NOT NULL;

-- name: attempts_in_time
-- When and where the attempts of a workflow ran, and how they ended, live and archived, by their start.
SELECT attempt.id, attempt.job, job.name, template.name AS template, attempt.number, attempt.state, attempt.cause,
    attempt.host, attempt.worker, attempt.started, attempt.ended, attempt.max_rss_bytes,
    attempt.archived_by IS NOT NULL AS archived
FROM attempt JOIN job ON job.id = attempt.job JOIN template ON template.id = attempt.template
WHERE job.workflow = :workflow AND attempt.started IS NOT NULL
ORDER BY attempt.started, attempt.id;

-- name: completed_otherwise
-- The live attempts of a workflow that were completed without running: with the times of the attempt that they stand
-- for, or when a person recorded them.
SELECT attempt.id, attempt.job, job.name, template.name AS template, attempt.number, attempt.state, attempt.cause,
    source.host, source.worker, COALESCE(source.started, attempt.ended) AS started,
    COALESCE(source.ended, attempt.ended) AS ended, source.max_rss_bytes, FALSE AS archived
FROM job JOIN attempt ON attempt.id = job.attempt JOIN template ON template.id = attempt.template
    LEFT JOIN attempt AS source ON source.id = attempt.reused_from
        AND source.started IS NOT NULL AND source.ended IS NOT NULL
WHERE job.workflow = :workflow AND attempt.started IS NULL AND attempt.state = 4
ORDER BY 10, attempt.id;

-- name: has_removed_outputs
-- Whether any temporary output of the store was removed, or is to be.
SELECT 1 FROM temporary_output LIMIT 1;

-- name: has_pruned
-- Whether any attempt of the store was ever pruned.
SELECT 1 FROM prune LIMIT 1;
