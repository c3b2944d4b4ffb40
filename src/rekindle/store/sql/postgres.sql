-- Statements for PostgreSQL alone. `{schema}` is the store's schema.

-- name: begin_write
-- A transaction that waits for all others of the store that write. Each of its statements sees what they committed.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('rekindle:{schema}', 0));

-- name: begin_turn
-- A transaction that waits for those that write alone, and that these wait for. Each of its statements sees what other
-- turns have committed. It reads few rows, by their indexes, whatever the server knows of the tables.
BEGIN;
SELECT pg_advisory_xact_lock_shared(hashtextextended('rekindle:{schema}', 0));
SET LOCAL enable_seqscan = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;

-- name: begin_read
-- A consistent view, which refuses to write.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: commit_write
-- Commit, and tell every connection that listens.
NOTIFY rekindle_{schema};
COMMIT;

-- name: listen
-- Be told of commits.
LISTEN rekindle_{schema};

-- name: place
-- The numbers of the cluster, the database and the schema: a copy has others.
SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
    (SELECT oid FROM pg_namespace WHERE nspname = '{schema}')
FROM pg_control_system();

-- name: is_store
-- Whether the schema has a store.
SELECT to_regclass('{schema}.meta') IS NOT NULL;

-- name: lock_children
-- Lock the children of jobs in the order of their ids, so that no two turns wait for each other.
SELECT id FROM job WHERE id IN (SELECT child FROM edge WHERE parent IN @parents) ORDER BY id FOR NO KEY UPDATE;

-- name: lock_claimed
-- At the end of the query for ready jobs: lock them, and leave out those that another turn has locked.
FOR NO KEY UPDATE OF job SKIP LOCKED;

-- name: create_schema
-- The schema of a new store.
CREATE SCHEMA IF NOT EXISTS {schema};

-- name: properties
-- The properties of the store.
SELECT key, value FROM meta;

-- name: set_property
-- A property of the store; another value replaces it.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: defer_references
-- Check references when the transaction commits.
SET CONSTRAINTS ALL DEFERRED;

-- name: continue_ids
-- Let the next id of a table follow the highest that is there.
SELECT setval(found.name, coalesce((SELECT max(id) FROM {table}), 0) + 1, false)
FROM (SELECT pg_get_serial_sequence('{schema}.{table}', 'id') AS name) AS found WHERE found.name IS NOT NULL;

-- name: continue_attempt_ids
-- Let the next attempt ids follow the highest that was ever used.
SELECT setval('attempt_ids', greatest((SELECT max(id) FROM attempt),
    (SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_attempt'), 0) + 1, false);
