-- What a store says of itself.

-- name: journal
-- Readers do not wait for a writer, nor the writer for readers.
PRAGMA journal_mode = WAL;

-- name: application
-- Whose file it is.
PRAGMA application_id;

-- name: version
-- The number of the last migration that was applied.
PRAGMA user_version;

-- name: write_meta
-- Something that the store says of itself.
INSERT INTO meta (key, value) VALUES (:key, :value);

-- name: identity
-- The store's UUID.
SELECT value FROM meta WHERE key = 'identity';
