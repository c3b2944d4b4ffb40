-- Statements for PostgreSQL alone. `{schema}` is the store's schema.

-- name: begin_write
-- A transaction that waits for all others of the store that write. Each of its statements sees what they committed.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('rekindle:{schema}', 0));

-- name: lock_turn
-- After BEGIN: a transaction that waits for those that write alone, and that these wait for. Each of its statements sees what other
-- turns have committed. It reads few rows, by their indexes, whatever the server knows of the tables and whatever the
-- values are: statements are planned once.
SELECT pg_advisory_xact_lock_shared(hashtextextended('rekindle:{schema}', 0)),
    set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true);

-- name: begin_read
-- A consistent view, which refuses to write.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: commit_write
-- Commit, and tell every connection that listens.
NOTIFY rekindle_{schema};
COMMIT;

-- name: notify
-- After the commit of a turn: tell every connection that listens. Transactions that notify commit one after another, each
-- with its wait for the disk: so the notification has a transaction of its own, which writes nothing.
NOTIFY rekindle_{schema};

-- name: each_changed
-- Run a statement that must change a number of rows. If it does not, an error has the number that it has changed.
WITH changed AS ({statement} RETURNING 1)
SELECT CASE WHEN count(*) = {rows} THEN 0 ELSE CAST(count(*) || ' rows changed' AS INTEGER) END FROM changed;

-- name: declare
-- Rows that are read a few at a time.
DECLARE {cursor} NO SCROLL CURSOR FOR {query};

-- name: fetch
-- The next of them.
FETCH {number} FROM {cursor};

-- name: listen
-- Be told of commits.
LISTEN rekindle_{schema};

-- name: notify_runner
-- Tell a runner, wherever it is, that it should read the store.
NOTIFY rk_{schema}_{runner};

-- name: listen_as_runner
-- Listen on the channel of this runner. The names of channels have 63 characters at most.
LISTEN rk_{schema}_{runner};

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
-- row: parents
SELECT id FROM job WHERE id IN (SELECT child FROM edge WHERE parent IN @parents) ORDER BY id FOR NO KEY UPDATE;

-- name: lock_claimed
-- At the end of the query for ready jobs: lock them, and leave out those that another turn has locked.
FOR NO KEY UPDATE OF job SKIP LOCKED;

-- name: not_locked
-- A condition of the query for ready jobs: leave out those that a running transaction has locked or changed. SKIP LOCKED,
-- which decides, asks the lock manager about each.
job.xmax <> ALL (ARRAY(SELECT CAST(other AS xid) FROM pg_snapshot_xip(pg_current_snapshot()) AS other));

-- name: tables
-- The tables of the store.
SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY tablename;

-- name: vacuum
-- Rewrite a table without what was deleted, and count its rows for the planner.
VACUUM (FULL, ANALYZE) {schema}.{table};

-- name: size
-- The bytes of all tables, with their indexes.
SELECT CAST(coalesce(sum(pg_total_relation_size(pg_class.oid)), 0) AS BIGINT)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
WHERE pg_namespace.nspname = '{schema}' AND pg_class.relkind = 'r';

-- name: create_schema
-- The schema of a new store.
CREATE SCHEMA IF NOT EXISTS {schema};

-- name: server
-- The server's clock (seconds since the epoch), and its version.
SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision), current_setting('server_version');

-- name: may_write
-- Whether this user may change the store's rows.
SELECT CASE WHEN has_table_privilege('{schema}.job', 'UPDATE') THEN 1 ELSE 0 END;

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
    (SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'highest_attempt'),
    (SELECT last_value FROM attempt_ids WHERE is_called), 0) + 1, false);

-- name: attempt_ids
-- Ids for new attempts. They were never used, deleted attempts included.
SELECT nextval('attempt_ids') FROM generate_series(1, CAST(:count AS BIGINT));
