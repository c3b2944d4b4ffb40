-- Attempts that a person recorded, failures that wait for a decision, and the questions that judges are asked.

ALTER TABLE attempt ADD COLUMN completed_by INTEGER;  -- -> rerun.id of kind 'complete'; null: it was executed
ALTER TABLE attempt ADD COLUMN undecided TEXT;        -- of a failed attempt, what it waits for; null: it is decided

CREATE INDEX attempt_by_hand ON attempt (completed_by) WHERE completed_by IS NOT NULL;
CREATE INDEX attempt_signature ON attempt (signature) WHERE signature IS NOT NULL;
CREATE INDEX attempt_undecided ON attempt (workflow, job) WHERE undecided IS NOT NULL;

CREATE TABLE judgement (
    id       INTEGER PRIMARY KEY,
    workflow INTEGER NOT NULL REFERENCES workflow,
    job      INTEGER NOT NULL REFERENCES job,
    attempt  INTEGER NOT NULL UNIQUE REFERENCES attempt,
    command  TEXT NOT NULL,          -- JSON: a command line, or an argument vector
    token    TEXT NOT NULL,          -- the same in each try
    asked    REAL NOT NULL,
    starts   INTEGER NOT NULL DEFAULT 0,  -- how many processes have asked
    owner    TEXT,                   -- JSON: the process that asks
    taken    REAL,
    answer   TEXT,                   -- 'retry', 'fail', 'hold', 'error' or 'withdrawn'; null: it is open
    reason   TEXT,
    ended    REAL
);

CREATE INDEX judgement_open ON judgement (id) WHERE answer IS NULL;
