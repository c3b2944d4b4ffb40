-- Verifications: completed attempts that were made again aside, and how their outputs compared.

CREATE TABLE verification (
    attempt INTEGER NOT NULL REFERENCES attempt,
    at      REAL NOT NULL,
    outcome TEXT NOT NULL,           -- 'reproducible', 'differs' or 'unknown'
    detail  TEXT NOT NULL,           -- JSON: why, and what differs first
    PRIMARY KEY (attempt, at)
) WITHOUT ROWID;
