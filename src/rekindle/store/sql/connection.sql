-- How a connection is set up.

-- name: synchronous
-- A commit survives the process; the last ones may be lost with the machine, never half of one.
PRAGMA synchronous = NORMAL;

-- name: durable
-- A commit survives the machine.
PRAGMA synchronous = FULL;

-- name: foreign_keys
-- What is referred to is there.
PRAGMA foreign_keys = ON;

-- name: cache
-- 64 MiB of pages.
PRAGMA cache_size = -65536;

-- name: temporary
-- Intermediate results stay in memory.
PRAGMA temp_store = MEMORY;

-- name: checkpoint
-- The log is written back every 4000 pages (16 MiB): once in a few thousand jobs, not every few hundred.
PRAGMA wal_autocheckpoint = 4000;

-- name: data_version
-- Changes when another connection has committed.
PRAGMA data_version;
