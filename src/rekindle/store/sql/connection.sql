-- Settings of a connection.

-- name: synchronous
-- A commit survives the process. The last commits may be lost with the machine; none is ever torn.
PRAGMA synchronous = NORMAL;

-- name: durable
-- A commit survives the machine.
PRAGMA synchronous = FULL;

-- name: foreign_keys
-- Enforce references between rows.
PRAGMA foreign_keys = ON;

-- name: cache
-- 16 MiB of pages: with more, commands on large stores take more memory and no less time.
PRAGMA cache_size = -16384;

-- name: temporary
-- Keep intermediate results in memory.
PRAGMA temp_store = MEMORY;

-- name: temporary_on_disk
-- Keep intermediate results on the disk: a vacuum would hold a copy of the store in memory.
PRAGMA temp_store = FILE;

-- name: vacuum
-- Rewrite the file without its free pages.
VACUUM;

-- name: truncate_log
-- Write the log back, and give its room to the file system. Readers may prevent that.
PRAGMA wal_checkpoint(TRUNCATE);

-- name: checkpoint
-- Write the log back every 4000 pages (16 MiB): once in a few thousand jobs, not every few hundred.
PRAGMA wal_autocheckpoint = 4000;

-- name: refuse_writes
-- Refuse every statement that writes, until writes are allowed again.
PRAGMA query_only = ON;

-- name: allow_writes
-- Take statements that write.
PRAGMA query_only = OFF;

-- name: data_version
-- Changes when another connection has committed.
PRAGMA data_version;

-- name: defer_references
-- Check references when the transaction commits.
PRAGMA defer_foreign_keys = ON;
