-- Fan-outs and their subtasks. 0 WAITING: never started, 3 RUNNING, 4 COMPLETED, 5 FAILED, 6 CANCELED.

-- name: insert_fan_out
-- A fan-out of an attempt, once its items are known.
-- row: attempt, step, total, base, gone
INSERT INTO fan_out (attempt, step, total, base, gone) VALUES (:attempt, :step, :total, :base, :gone)
ON CONFLICT (attempt, step) DO NOTHING;

-- name: insert_subtask
-- A subtask that will run in this attempt.
-- row: attempt, step, idx, item, attempts, digest
INSERT INTO subtask (attempt, step, idx, item, state, attempts, digest)
VALUES (:attempt, :step, :idx, :item, 0, :attempts, :digest)
ON CONFLICT (attempt, step, idx) DO NOTHING;

-- name: start_subtask
-- A subtask runs; `attempts` counts its starts.
-- row: attempts, attempt, step, idx
UPDATE subtask SET state = 3, attempts = :attempts, cause = NULL, exit_code = NULL, signal = NULL, started = NULL,
    ended = NULL, result = NULL
WHERE attempt = :attempt AND step = :step AND idx = :idx;

-- name: end_subtask
-- A subtask has ended.
-- row: state, cause, exit_code, signal, started, ended, result, attempt, step, idx
UPDATE subtask SET state = :state, cause = :cause, exit_code = :exit_code, signal = :signal, started = :started,
    ended = :ended, result = :result
WHERE attempt = :attempt AND step = :step AND idx = :idx;

-- name: end_with_attempt
-- End the subtasks that still run in an attempt that has ended.
-- row: attempt, state, cause, ended
UPDATE subtask SET state = :state, cause = :cause, ended = :ended WHERE attempt = :attempt AND state = 3;

-- name: fan_out
-- A fan-out that an attempt has rows for.
SELECT base, gone FROM fan_out WHERE attempt = :attempt AND step = :step;

-- name: fan_outs
-- The fan-outs of attempts.
SELECT attempt, step, base FROM fan_out WHERE attempt IN @attempts;

-- name: kept_steps
-- The steps that attempts keep from other attempts.
SELECT attempt, position, kept_from FROM step WHERE attempt IN @attempts AND kept_from IS NOT NULL;

-- name: previous_owner
-- The earlier attempt that ran a step: the one this attempt keeps the step from, or the one it resumed at that step
-- without learning its items.
SELECT kept_from FROM step WHERE attempt = :attempt AND position = :step AND kept_from IS NOT NULL
UNION ALL
SELECT builds_on FROM attempt WHERE id = :attempt AND start_step = :step AND builds_on IS NOT NULL
LIMIT 1;

-- name: subtasks
-- The subtasks that run in an attempt, or one of them.
SELECT idx, item, state, attempts, attempt, cause, exit_code, signal, started, ended, result, digest
FROM subtask WHERE attempt = :attempt AND step = :step AND (idx = :idx OR :idx IS NULL) ORDER BY idx;

-- name: states
-- The number of an attempt's own subtasks by state.
SELECT attempt, step, state, count(*) FROM subtask WHERE attempt IN @attempts GROUP BY attempt, step, state;

-- name: mark_partial
-- Mark attempts that continue with a part of a fan-out.
UPDATE attempt SET partial = 1 WHERE id IN @attempts;

-- name: partial
-- Of some jobs (null: of all), those whose live attempt depends on a partial fan-out: its own, or one upstream.
WITH RECURSIVE partial (id) AS (
    SELECT job.id FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.partial = 1 AND job.attempt = attempt.id
    UNION
    SELECT edge.child FROM partial JOIN edge ON edge.parent = partial.id JOIN job ON job.id = edge.child
    WHERE job.attempt IS NOT NULL
)
SELECT id FROM partial WHERE id IN @jobs OR :jobs IS NULL;
