-- Retention: what a person removed from the history, and temporary outputs that were removed.

CREATE TABLE prune (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    request  TEXT NOT NULL,          -- JSON: the selection and the rules, as asked
    note     TEXT,
    logs     TEXT NOT NULL,          -- 'removed' or 'compressed'
    attempts INTEGER NOT NULL,
    bytes    INTEGER NOT NULL        -- of files, as they were measured before
);

ALTER TABLE attempt ADD COLUMN pruned_by INTEGER;  -- -> prune.id; null: its content is kept

-- Attempts whose files are still to be removed: decided with the rows, done after the commit.
CREATE TABLE removal (
    attempt INTEGER PRIMARY KEY,     -- also of a deleted workflow
    prune   INTEGER NOT NULL REFERENCES prune
);

CREATE TABLE temporary_output (
    attempt INTEGER NOT NULL REFERENCES attempt,  -- that wrote it
    name    TEXT NOT NULL,           -- as declared
    path    TEXT NOT NULL,
    decided REAL NOT NULL,           -- when all jobs that need it were done
    removed REAL,                    -- null: its files are still to be removed
    PRIMARY KEY (attempt, name)
) WITHOUT ROWID;
CREATE INDEX temporary_output_pending ON temporary_output (attempt) WHERE removed IS NULL;
