-- Attempts whose outputs are in the content store.

-- name: put
-- An attempt whose outputs are kept.
-- distinct row: attempt, contents, bytes, at
INSERT INTO cached_output (attempt, contents, bytes, kept, used) VALUES (:attempt, :contents, :bytes, :at, :at)
ON CONFLICT (attempt) DO UPDATE SET contents = excluded.contents, bytes = excluded.bytes, kept = excluded.kept,
    used = excluded.used;

-- name: use
-- The outputs of attempts were restored.
UPDATE cached_output SET used = :at WHERE attempt IN @attempts;

-- name: forget
-- The outputs of attempts are not kept any more.
DELETE FROM cached_output WHERE attempt IN @attempts RETURNING attempt;

-- name: kept
-- Those of these attempts whose outputs are kept.
SELECT attempt FROM cached_output WHERE attempt IN @attempts;

-- name: total
-- The bytes of all kept outputs; contents that several attempts have left count for each.
SELECT coalesce(sum(bytes), 0) FROM cached_output;

-- name: listing
-- The attempts whose outputs are kept, of one workflow or all, the least recently used first.
SELECT cached_output.attempt, attempt.job, job.name, attempt.number, attempt.workflow, workflow.name AS workflow_name,
    cached_output.contents, cached_output.bytes, cached_output.kept, cached_output.used
FROM cached_output JOIN attempt ON attempt.id = cached_output.attempt JOIN job ON job.id = attempt.job
    JOIN workflow ON workflow.id = attempt.workflow
WHERE CAST(:only AS BIGINT) IS NULL OR attempt.workflow = CAST(:only AS BIGINT)
ORDER BY cached_output.used, cached_output.attempt;

-- name: running
-- Those of these attempts that have not ended: their outputs may be being kept.
SELECT id FROM attempt WHERE id IN @attempts AND state < 4;

-- name: workflow_of
-- The workflows of attempts.
SELECT id, workflow FROM attempt WHERE id IN @attempts;
