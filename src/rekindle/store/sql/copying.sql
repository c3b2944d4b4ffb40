-- Copy every row of a store to another. `{table}`, `{names}`, `{key}` and `{values}` are the table's.

-- name: rows
-- The rows of a table, in the order of its primary key.
SELECT {names} FROM {table} ORDER BY {key};

-- name: insert
-- A row of a table.
INSERT INTO {table} ({names}) VALUES ({values});

-- name: properties
-- The properties of the store that its copy has too.
SELECT key, value FROM meta WHERE key NOT IN ('spool', 'version') ORDER BY key;

-- name: set_property
-- A property of the copy.
-- row: key, value
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
