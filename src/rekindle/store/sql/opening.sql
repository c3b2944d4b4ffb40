-- Properties of a store's file.

-- name: journal
-- Readers do not wait for a writer, and the writer does not wait for readers.
PRAGMA journal_mode = WAL;

-- name: application
-- The application that the file belongs to.
PRAGMA application_id;

-- name: version
-- The number of the last applied migration.
PRAGMA user_version;

-- name: write_meta
-- A property of the store; another value replaces it.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: identity
-- The store's UUID.
SELECT value FROM meta WHERE key = 'identity';

-- name: spool
-- The folder with journals and attempts' folders, if it is not that of the rows.
SELECT value FROM meta WHERE key = 'spool';
