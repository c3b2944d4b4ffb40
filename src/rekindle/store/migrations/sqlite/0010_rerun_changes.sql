-- The jobs of a rerun as sets: what the rerun does to each job of a set is one row of `rerun_change`, and a job's own row
-- has the few values in which the jobs of a set differ. In a change, -1 stands for the attempt in `own`, and in the detail
-- of the reasons `upstream` and `stays` for the job in `upstream`. Each job of an earlier rerun is a set of its own.

CREATE TABLE rerun_change (
    rerun        INTEGER NOT NULL REFERENCES rerun,
    number       INTEGER NOT NULL,     -- within the rerun
    before       INTEGER NOT NULL,     -- state; of a job that a revision adds: WAITING
    after        INTEGER NOT NULL,
    unmet        INTEGER NOT NULL,     -- after
    start        TEXT NOT NULL,        -- 'beginning' or a step's name
    keeps        TEXT NOT NULL,        -- JSON: names of steps
    reasons      TEXT NOT NULL,        -- JSON
    archives     TEXT NOT NULL,        -- JSON: attempt ids
    next_attempt TEXT,                 -- JSON of NextAttempt; null: the default
    changes      TEXT,                 -- JSON: the overrides that the rerun changed; null: none
    saves        TEXT,                 -- JSON: the outputs that the rerun was to save; null: none
    stays        INTEGER NOT NULL,     -- not reset: only its state and unmet count follow what it needs
    holds        TEXT,                 -- the reason for which it is held from now on
    releases     INTEGER NOT NULL,     -- it was held, and is not any more
    held         TEXT,                 -- what undo restores beside the attempt: the hold ...
    canceled     INTEGER NOT NULL,     -- ... the cancellation ...
    next_before  TEXT,                 -- ... and JSON of NextAttempt; null: the default
    PRIMARY KEY (rerun, number)
) WITHOUT ROWID;

ALTER TABLE rerun_job RENAME TO whole_rerun_job;
DROP INDEX rerun_job_by_job;
CREATE TABLE rerun_job (
    rerun    INTEGER NOT NULL REFERENCES rerun,
    job      INTEGER NOT NULL REFERENCES job,
    change   INTEGER NOT NULL,         -- -> rerun_change.number, of the same rerun
    version  INTEGER NOT NULL,         -- that the plan was bound to
    attempt  INTEGER,                  -- its live attempt before the rerun, which undo restores
    own      INTEGER,                  -- the attempt that its change stands for
    upstream INTEGER,                  -- the job that the reasons of its change stand for
    saved    TEXT,                     -- JSON: the outputs that were saved, for undo to restore
    checked  TEXT,                     -- JSON: when the reuse candidate was checked, and the result
    PRIMARY KEY (rerun, job)
) WITHOUT ROWID;

INSERT INTO rerun_change SELECT rerun, job, before, after, unmet, start, keeps, reasons, archives, next_attempt, changes,
    saves, stays, holds, releases, json_extract(pointers, '$.held'), coalesce(json_extract(pointers, '$.canceled'), 0),
    nullif(json_extract(pointers, '$.next'), '{}')
FROM whole_rerun_job;
INSERT INTO rerun_job
SELECT rerun, job, job, version, json_extract(pointers, '$.attempt'), NULL, NULL, saved, checked FROM whole_rerun_job;
DROP TABLE whole_rerun_job;
CREATE INDEX rerun_job_by_job ON rerun_job (job, rerun);
