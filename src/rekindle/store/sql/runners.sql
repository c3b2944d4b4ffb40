-- Runners, leases, and the journals of workers.

-- name: runner_columns
-- Every column of a runner.
id, host, boot_id, pid, pid_start, executor, slots, started, expires, epoch, ended, pid_space, keeper, label, store,
store_file, offer, {skew} AS skew;

-- name: insert_runner
-- A new runner.
INSERT INTO runner (host, boot_id, pid, pid_start, pid_space, executor, slots, epoch, started, expires,
    label, store, store_file, offer)
VALUES (:host, :boot_id, :pid, :pid_start, :pid_space, :executor, :slots, 1, :started, :until + {skew}, :label, :store,
    :store_file, :offer)
RETURNING id;

-- name: renew
-- Extend a lease that no other runner has taken over.
UPDATE runner SET expires = :until + {skew} WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: is_current
-- A runner that no other has taken over.
SELECT 1 FROM runner WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: end_runner
-- A runner ended, or was found dead.
UPDATE runner SET ended = :now WHERE id = :runner AND ended IS NULL;

-- name: abandon
-- Make a runner count as dead everywhere: no process starts at this time, and no lease ends so early.
UPDATE runner SET pid_start = -1, expires = 0 WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: take_over
-- Raise the epoch of a dead runner: one caller succeeds.
UPDATE runner SET epoch = epoch + 1, keeper = :keeper WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: runner
-- One runner.
SELECT {runner_columns} FROM runner WHERE id = :runner;

-- name: alive
-- Runners that have not ended, without those that stand for detached attempts.
SELECT {runner_columns} FROM runner WHERE ended IS NULL AND executor <> 'detached' ORDER BY id;

-- name: detached
-- Runners that stand for detached attempts, and that have not ended.
SELECT {runner_columns} FROM runner WHERE ended IS NULL AND executor = 'detached' ORDER BY id;

-- name: count_detached
-- The detached attempts that have not ended, of one workflow or of all.
SELECT count(*) FROM attempt JOIN runner ON runner.id = attempt.runner
WHERE attempt.state IN (2, 3) AND runner.executor = 'detached'
    AND (CAST(:workflow AS BIGINT) IS NULL OR attempt.workflow = :workflow);

-- name: with_free_slots
-- Runners that have not ended, with fewer active attempts than slots.
SELECT id FROM runner
WHERE ended IS NULL AND executor <> 'detached'
    AND (SELECT count(*) FROM attempt WHERE attempt.runner = runner.id AND attempt.state IN (2, 3)) < slots
ORDER BY id;

-- name: open_journal
-- A worker's journal.
INSERT INTO journal (worker, runner, path, pid, pid_start) VALUES (:worker, :runner, :path, :pid, :pid_start);

-- name: journals
-- A runner's open journals.
SELECT worker, path, pid, pid_start, position FROM journal WHERE runner = :runner AND closed = 0 ORDER BY worker;

-- name: advance
-- Everything before a position has been ingested.
UPDATE journal SET position = :position WHERE worker = :worker;

-- name: damage
-- The first part of a journal that cannot be read.
UPDATE journal SET damaged = coalesce(damaged, :byte), damaged_length = coalesce(damaged_length, :length)
WHERE worker = :worker RETURNING path;

-- name: damages
-- The damage in a runner's open journals.
SELECT path, damaged, damaged_length FROM journal
WHERE runner = :runner AND closed = 0 AND damaged IS NOT NULL ORDER BY worker;

-- name: close_journal
-- A journal is complete.
UPDATE journal SET closed = 1 WHERE worker = :worker;
