-- How attempts have gone, live and archived ones alike: aggregates over the whole history of jobs.

-- name: ended
-- An attempt that has ended and says something of its job; one that was lost or canceled does not.
(attempt.state = 4 OR (attempt.state = 5 AND coalesce(attempt.cause, '') <> 'lost'));

-- name: tally
-- How often it passed and failed, how often it was lost or canceled, and when it last ended and failed.
attempt.job, sum(attempt.state = 4), sum(attempt.state = 5 AND coalesce(attempt.cause, '') <> 'lost'),
sum(attempt.state = 6 OR coalesce(attempt.cause, '') = 'lost'), count(attempt.overrides),
max(CASE WHEN {ended} THEN attempt.ended END), max(CASE WHEN attempt.state = 5 AND {ended} THEN attempt.ended END),
max(CASE WHEN {ended} THEN attempt.id END);

-- name: tallies
-- In the order of rekindle.store.port_tries.Tally.
SELECT {tally} FROM attempt WHERE attempt.state >= 4 AND attempt.job IN @jobs GROUP BY attempt.job;

-- name: alike
-- Attempts that were made from the same rows and recorded the same, in the order of store.port_tries.Alike.
SELECT attempt.job, attempt.workflow, attempt.template, attempt.revision, coalesce(attempt.binding, job.binding),
    attempt.overrides, patched.document, attempt.code, attempt.partial, json_extract(files.document, '$.inputs'),
    json_extract(files.document, '$.env'), needed.document, sum(attempt.state = 4), sum(attempt.state = 5),
    min(CASE WHEN attempt.state = 5 THEN attempt.id END), max(attempt.id),
    coalesce(max(CASE WHEN attempt.state = 4 THEN attempt.id END), 0) = max(attempt.id)
FROM job JOIN attempt ON attempt.job = job.id
    LEFT JOIN fingerprint AS files ON files.attempt = attempt.id AND files.part = 'files'
    LEFT JOIN fingerprint AS needed ON needed.attempt = attempt.id AND needed.part = 'needed'
    LEFT JOIN fingerprint AS patched ON patched.attempt = attempt.id AND patched.part = 'patched'
WHERE job.id IN @jobs AND {ended}
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;

-- name: failing
-- How jobs have failed: how often in which way, and the newest attempt that did.
SELECT attempt.job, signature.digest, signature.cause, signature.type, signature.message, count(*), max(attempt.id)
FROM attempt JOIN signature ON signature.id = attempt.signature
WHERE attempt.job IN @jobs AND attempt.state = 5 AND {ended} GROUP BY attempt.job, signature.id ORDER BY 6 DESC, 2;

-- name: hosts
-- How jobs have gone on which hosts.
SELECT attempt.job, attempt.host, sum(attempt.state = 4), sum(attempt.state = 5) FROM attempt
WHERE attempt.job IN @jobs AND attempt.host IS NOT NULL AND {ended}
GROUP BY attempt.job, attempt.host ORDER BY 4 DESC, 3 DESC, 2;
