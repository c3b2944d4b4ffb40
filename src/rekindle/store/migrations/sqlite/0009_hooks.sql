-- Hooks of workflows, and their deliveries.

ALTER TABLE revision ADD COLUMN hooks TEXT;  -- JSON; null: none

CREATE TABLE hook_delivery (
    id       INTEGER PRIMARY KEY,
    workflow INTEGER NOT NULL REFERENCES workflow,
    attempt  INTEGER NOT NULL,       -- the newest attempt of the run
    event    TEXT NOT NULL,
    token    TEXT NOT NULL,          -- the same in each try, so that receivers can drop duplicates
    hook     TEXT NOT NULL,          -- JSON
    document TEXT NOT NULL,          -- JSON: what the hook gets
    added    REAL NOT NULL,
    starts   INTEGER NOT NULL DEFAULT 0,  -- how many processes have taken it
    owner    TEXT,                   -- JSON: the process that runs it
    taken    REAL,
    result   TEXT,                   -- null: it has not been delivered
    ended    REAL,
    UNIQUE (workflow, attempt, event)
);

CREATE INDEX hook_pending ON hook_delivery (id) WHERE result IS NULL;
