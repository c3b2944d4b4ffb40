-- Checks for damage to a store's file and rows.

-- name: integrity
-- SQLite's own checks of the whole file: one row `ok`, or a row for each problem.
PRAGMA integrity_check(100);

-- name: quick
-- The same without comparing indexes with their tables.
PRAGMA quick_check(100);

-- name: foreign_keys
-- Rows that refer to rows that do not exist: (table, row, table that is referred to, number of the key).
PRAGMA foreign_key_check;

-- name: tables
-- The names of all tables.
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name;

-- name: job_template
-- Jobs whose template does not exist.
SELECT id FROM job WHERE template NOT IN (SELECT id FROM template) ORDER BY id;

-- name: attempt_template
-- Attempts whose template does not exist.
SELECT id FROM attempt WHERE template NOT IN (SELECT id FROM template) ORDER BY id;

-- name: attempt_signature
-- Attempts whose signature does not exist.
SELECT id FROM attempt WHERE signature IS NOT NULL AND signature NOT IN (SELECT id FROM signature) ORDER BY id;

-- name: columns
-- The columns of a table: (number, name, type, whether required, default, position in the primary key).
PRAGMA table_info({table});

-- name: rows
-- Every row of a table, with these columns: generated ones are left out.
SELECT {names} FROM {table};
