-- Runners, leases and their workers' journals.

-- name: runner_columns
-- Everything about a runner, in the order of rekindle.domain.models.Runner, and the file of the store it works on.
id, host, boot_id, pid, pid_start, executor, slots, started, expires, epoch, ended, pid_space, keeper, label, store,
store_file, offer;

-- name: insert_runner
-- A new runner.
INSERT INTO runner (host, boot_id, pid, pid_start, pid_space, executor, slots, epoch, started, expires,
    label, store, store_file, offer)
VALUES (:host, :boot_id, :pid, :pid_start, :pid_space, :executor, :slots, 1, :started, :expires, :label, :store,
    :store_file, :offer);

-- name: renew
-- Extend a lease that nobody has taken over.
UPDATE runner SET expires = :until WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: end_runner
-- It ended, or was found dead.
UPDATE runner SET ended = :now WHERE id = :runner AND ended IS NULL;

-- name: abandon
-- No process starts at such a time, and no lease ends so early: the runner counts as dead, whoever looks.
UPDATE runner SET pid_start = -1, expires = 0 WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: take_over
-- Raise the epoch of a dead runner: one caller succeeds.
UPDATE runner SET epoch = epoch + 1, keeper = :keeper WHERE id = :runner AND epoch = :epoch AND ended IS NULL;

-- name: runner
-- A runner, whatever has become of it.
SELECT {runner_columns} FROM runner WHERE id = :runner;

-- name: alive
-- Runners that have not ended.
SELECT {runner_columns} FROM runner WHERE ended IS NULL ORDER BY id;

-- name: with_room
-- Runners that have not ended and run less at once than they could.
SELECT id FROM runner
WHERE ended IS NULL
    AND (SELECT count(*) FROM attempt WHERE attempt.runner = runner.id AND attempt.state IN (2, 3)) < slots
ORDER BY id;

-- name: open_journal
-- A worker's journal.
INSERT INTO journal (worker, runner, path, pid, pid_start) VALUES (:worker, :runner, :path, :pid, :pid_start);

-- name: journals
-- A runner's journals that are not closed.
SELECT worker, path, pid, pid_start, position FROM journal WHERE runner = :runner AND closed = 0 ORDER BY worker;

-- name: advance
-- Everything before a position has been ingested.
UPDATE journal SET position = :position WHERE worker = :worker;

-- name: damage
-- Something of a journal cannot be read: where the first of it is.
UPDATE journal SET damaged = coalesce(damaged, :byte), damaged_length = coalesce(damaged_length, :length)
WHERE worker = :worker RETURNING path;

-- name: damages
-- Where a runner's journals that are not closed cannot be read.
SELECT path, damaged, damaged_length FROM journal
WHERE runner = :runner AND closed = 0 AND damaged IS NOT NULL ORDER BY worker;

-- name: close_journal
-- Nothing more will come from it.
UPDATE journal SET closed = 1 WHERE worker = :worker;
