-- The tables of a store in SQLite, as they are now. A new store is made with this script. An older store gets the same
-- tables by the migrations in migrations/sqlite/. A change of the tables is a new migration, and the same change here
-- with the migration's number as user_version: tests/store/test_tables.py compares the two.
--
-- States are the numbers of rekindle.domain.states.State. Times are seconds since the epoch, UTC. Truth values are 0
-- and 1. Absolute paths at or below the store's parent are stored relative to it (see rekindle.store.stored_paths). A
-- rerun deletes no row.

PRAGMA application_id = 1380666948;  -- RKND
PRAGMA user_version = 17;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,          -- 'identity' (a UUID), 'spool', 'highest_…' (ids that stay used up)
    value TEXT NOT NULL
);

-- Workflows and their definitions.

CREATE TABLE workflow (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,     -- not unique: a name means the newest workflow
    project       TEXT,
    directory     TEXT NOT NULL,
    source        TEXT,
    source_digest TEXT,
    revision      INTEGER NOT NULL,  -- the latest
    submitted     REAL NOT NULL,     -- the first submission
    archived      REAL
);
CREATE INDEX workflow_by_name ON workflow (name, id);

CREATE TABLE revision (
    workflow      INTEGER NOT NULL REFERENCES workflow,
    number        INTEGER NOT NULL,
    submitted     REAL NOT NULL,
    params        TEXT NOT NULL,     -- JSON
    source_digest TEXT,
    rerun         INTEGER,           -- -> rerun.id, of kind 'revision': what it did; null: the first
    earlier       BLOB,              -- deflated JSON: the jobs and edges before; see rekindle.store.revisions
    hooks         TEXT,              -- JSON; null: none
    PRIMARY KEY (workflow, number)
) WITHOUT ROWID;

-- What jobs need. Jobs with equal resources share a class.
CREATE TABLE resource_class (
    id       INTEGER PRIMARY KEY,
    cpus     REAL NOT NULL,
    memory   INTEGER NOT NULL,
    gpus     INTEGER NOT NULL,
    time     REAL NOT NULL,          -- seconds; 0: no limit
    licences TEXT NOT NULL,          -- JSON [[name, n], ...]
    UNIQUE (cpus, memory, gpus, time, licences)
);

CREATE TABLE template (
    id             INTEGER PRIMARY KEY,
    workflow       INTEGER NOT NULL REFERENCES workflow,
    revision       INTEGER NOT NULL, -- the first one that has it; later ones keep it while it is equal
    name           TEXT NOT NULL,
    body           TEXT NOT NULL,    -- JSON of domain.definition.JobTemplate
    resource_class INTEGER NOT NULL REFERENCES resource_class
);
CREATE INDEX template_by_workflow ON template (workflow);

-- Counts and spans are in parts, so that runners at work on one workflow change different rows. A value of a
-- workflow is the sum, or the extreme, of its parts. SQLite, with one writer at a time, has part 0 only.
CREATE TABLE workflow_count (
    workflow       INTEGER NOT NULL REFERENCES workflow,
    resource_class INTEGER NOT NULL REFERENCES resource_class,
    state          INTEGER NOT NULL,
    part           INTEGER NOT NULL,
    n              INTEGER NOT NULL, -- jobs that are not retired; less than 0 where other parts have more
    PRIMARY KEY (workflow, resource_class, state, part)
) WITHOUT ROWID;

CREATE TABLE workflow_span (
    workflow INTEGER NOT NULL REFERENCES workflow,
    part     INTEGER NOT NULL,
    started  REAL,                   -- the first start of an attempt
    ended    REAL,                   -- the last end of an attempt
    PRIMARY KEY (workflow, part)
) WITHOUT ROWID;

-- Jobs.

CREATE TABLE job (
    id             INTEGER PRIMARY KEY,  -- contiguous within a submission
    workflow       INTEGER NOT NULL REFERENCES workflow,
    name           TEXT NOT NULL,
    template       INTEGER NOT NULL,     -- -> template.id
    binding        TEXT NOT NULL,        -- JSON: the matrix values
    state          INTEGER NOT NULL,
    unmet          INTEGER NOT NULL CHECK (unmet >= 0),  -- parents that are not done
    priority       INTEGER NOT NULL,
    resource_class INTEGER NOT NULL REFERENCES resource_class,
    version        INTEGER NOT NULL DEFAULT 0,
    attempts       INTEGER NOT NULL DEFAULT 0,
    attempt        INTEGER,              -- the live one
    held           TEXT,                 -- the reason; null: not held
    canceled       INTEGER NOT NULL DEFAULT 0,
    retired        INTEGER NOT NULL DEFAULT 0,
    when_finished  INTEGER NOT NULL DEFAULT 0,  -- a job that has ended, however, is done for it
    delayed_since  REAL,                 -- when its delay began: at its last reset
    added_by       INTEGER,              -- the attempt whose action added it
    next_attempt   TEXT,                 -- JSON of domain.next_attempt.NextAttempt; null: the default
    -- The values of the next attempt that queries read.
    resume_attempt  INTEGER AS (json_extract(next_attempt, '$.resume_attempt')),
    folder          TEXT AS (json_extract(next_attempt, '$.folder')),
    overrides       TEXT AS (json_extract(next_attempt, '$.overrides')),
    pinned_to       INTEGER AS (json_extract(next_attempt, '$.pinned_to')),
    not_before      REAL AS (json_extract(next_attempt, '$.not_before')),
    avoids          TEXT AS (json_extract(next_attempt, '$.avoids')),
    reuse_candidate INTEGER AS (json_extract(next_attempt, '$.reuse_candidate')),
    UNIQUE (workflow, name)
);
-- Few jobs are held, and whoever asks why nothing runs asks for them.
CREATE INDEX job_held ON job (workflow, state) WHERE held IS NOT NULL;
CREATE INDEX job_when_finished ON job (workflow) WHERE when_finished = 1;
CREATE INDEX job_added ON job (added_by) WHERE added_by IS NOT NULL;
-- What users ask for most. A job that completes never enters it.
CREATE INDEX job_ended_badly ON job (workflow, state, id) WHERE state = 5 OR state = 6;
CREATE INDEX job_ready ON job (workflow, resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NULL AND not_before IS NULL;
-- Claims of runners without a workflow.
CREATE INDEX job_ready_by_class ON job (resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NULL AND not_before IS NULL;
-- Ready jobs with a reuse candidate, which is checked before they may be claimed.
CREATE INDEX job_check ON job (workflow, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NOT NULL;
CREATE INDEX job_delayed ON job (not_before) WHERE not_before IS NOT NULL;
-- Completed jobs that need a job that is not done, which `status` counts.
CREATE INDEX job_overtaken ON job (workflow, state) WHERE state = 4 AND unmet > 0 AND retired = 0;

CREATE TABLE edge (
    parent   INTEGER NOT NULL REFERENCES job,
    child    INTEGER NOT NULL REFERENCES job,
    added_by INTEGER,                    -- the attempt whose action added it
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (child, parent);
CREATE INDEX edge_added ON edge (added_by) WHERE added_by IS NOT NULL;

-- Changes of parameters by dynamic actions.
CREATE TABLE patch (
    id       INTEGER PRIMARY KEY,
    attempt  INTEGER NOT NULL REFERENCES attempt,  -- whose action it is
    job      INTEGER NOT NULL REFERENCES job,      -- whose parameters it changes
    change   TEXT NOT NULL,                        -- JSON
    in_force INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX patch_by_job ON patch (job) WHERE in_force = 1;
CREATE INDEX patch_by_attempt ON patch (attempt);

-- Attempts.

CREATE TABLE attempt (
    id              INTEGER PRIMARY KEY,
    job             INTEGER NOT NULL REFERENCES job,
    workflow        INTEGER NOT NULL,    -- the job's
    number          INTEGER NOT NULL,
    token           TEXT NOT NULL,
    state           INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    template        INTEGER NOT NULL,
    binding         TEXT,                -- JSON: the matrix values; null: those that the job has now
    pinned_to       INTEGER,             -- the attempt whose definition it uses; null: the latest
    code            TEXT,                -- -> source.digest: the modules that its functions were loaded from
    runner          INTEGER,
    worker          TEXT,
    host            TEXT,
    pid             INTEGER,
    pid_start       INTEGER,
    folder          TEXT,
    shared          INTEGER NOT NULL DEFAULT 0,  -- others may use that folder too: it is never removed
    queued          REAL,
    started         REAL,
    ended           REAL,
    cause           TEXT,
    exit_code       INTEGER,
    signal          INTEGER,
    signature       INTEGER,             -- -> signature.id
    error_type      TEXT,
    error_message   TEXT,
    error_traceback TEXT,
    error_stderr    TEXT,
    evidence        TEXT,                -- JSON: the facts from which the cause was concluded
    cpu_seconds     REAL,
    max_rss_bytes   INTEGER,
    result          TEXT,                -- JSON
    verdict         TEXT,                -- 'passed', 'warning' or 'blocker' …
    verdict_message TEXT,                -- … and why
    builds_on       INTEGER,             -- the attempt whose steps it keeps
    start_step      INTEGER NOT NULL DEFAULT 0,
    overrides       TEXT,                -- JSON; not null: modified
    partial         INTEGER NOT NULL DEFAULT 0,
    acts            INTEGER NOT NULL DEFAULT 0,  -- its steps' actions are in force
    cancel          INTEGER NOT NULL DEFAULT 0,  -- somebody asked for its end
    archived_by     INTEGER,             -- -> rerun.id; null: live
    left_running    TEXT,                -- JSON of domain.models.LeftRunning; null: none
    pruned_by       INTEGER,             -- -> prune.id; null: its content is kept
    identity        INTEGER,             -- of its definition and values; null: other jobs do not reuse it
    reused_from     INTEGER,             -- -> attempt.id: the one that completed the job; 0: it was deleted
    completed_by    INTEGER,             -- -> rerun.id, of kind 'complete'; null: it was executed
    undecided       TEXT                 -- of a failed attempt, what it waits for; null: it is decided
);
CREATE INDEX attempt_by_job ON attempt (job);
CREATE INDEX attempt_acting ON attempt (job) WHERE acts = 1;
CREATE INDEX attempt_partial ON attempt (id) WHERE partial = 1;
CREATE INDEX attempt_active ON attempt (runner) WHERE state IN (2, 3);
-- Attempts that a rerun has archived and asked to end: until they have ended, their jobs are not claimed.
CREATE INDEX attempt_leaving ON attempt (job) WHERE archived_by IS NOT NULL AND state IN (2, 3);
-- Attempts whose verdict is not 'passed'.
CREATE INDEX attempt_found ON attempt (workflow, verdict, job)
    WHERE verdict IN ('warning', 'blocker') AND archived_by IS NULL;
-- All that grouping failures reads: no attempt's row is read for it.
CREATE INDEX attempt_failed ON attempt (workflow, signature, host, archived_by, ended, job)
    WHERE signature IS NOT NULL;
CREATE INDEX attempt_reusable ON attempt (identity) WHERE identity IS NOT NULL AND state = 4;
CREATE INDEX attempt_reused ON attempt (reused_from) WHERE reused_from IS NOT NULL;
CREATE INDEX attempt_by_hand ON attempt (completed_by) WHERE completed_by IS NOT NULL;
CREATE INDEX attempt_signature ON attempt (signature) WHERE signature IS NOT NULL;
CREATE INDEX attempt_undecided ON attempt (workflow, job) WHERE undecided IS NOT NULL;

CREATE TABLE step (
    attempt   INTEGER NOT NULL REFERENCES attempt,
    position  INTEGER NOT NULL,
    name      TEXT NOT NULL,
    state     INTEGER NOT NULL,
    cause     TEXT,
    exit_code INTEGER,
    signal    INTEGER,
    started   REAL,
    ended     REAL,
    result    TEXT,                      -- JSON
    kept_from INTEGER,                   -- the attempt that executed it
    action    TEXT,                      -- JSON: the dynamic action that it requested
    verdict   TEXT,                      -- as in attempt
    verdict_message TEXT,
    PRIMARY KEY (attempt, position)
) WITHOUT ROWID;
CREATE INDEX step_action ON step (attempt) WHERE action IS NOT NULL;

CREATE TABLE fan_out (
    attempt INTEGER NOT NULL REFERENCES attempt,
    step    INTEGER NOT NULL,
    total   INTEGER NOT NULL,            -- items, kept ones too
    base    INTEGER,                     -- the attempt whose subtasks it keeps, if it has no rows of its own for them
    gone    TEXT NOT NULL,               -- JSON: indices of the base's subtasks that it does not have
    PRIMARY KEY (attempt, step)
) WITHOUT ROWID;

CREATE TABLE subtask (
    attempt   INTEGER NOT NULL REFERENCES attempt,
    step      INTEGER NOT NULL,
    idx       INTEGER NOT NULL,          -- the same in all attempts that build on each other
    item      TEXT NOT NULL,             -- JSON; its identity
    state     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    cause     TEXT,
    exit_code INTEGER,
    signal    INTEGER,
    started   REAL,
    ended     REAL,
    result    TEXT,
    digest    TEXT,                      -- of its item's file, when the subtask was planned; null: not compared
    PRIMARY KEY (attempt, step, idx)
) WITHOUT ROWID;

CREATE TABLE signature (
    id      INTEGER PRIMARY KEY,
    digest  TEXT NOT NULL UNIQUE,
    cause   TEXT NOT NULL,
    type    TEXT NOT NULL,
    message TEXT NOT NULL                -- normalized
);

-- Completed attempts that were executed again aside, and how their outputs compared.
CREATE TABLE verification (
    attempt INTEGER NOT NULL REFERENCES attempt,
    at      REAL NOT NULL,
    outcome TEXT NOT NULL,           -- 'reproducible', 'differs' or 'unknown'
    detail  TEXT NOT NULL,           -- JSON: why, and what differs first
    PRIMARY KEY (attempt, at)
) WITHOUT ROWID;

-- Runners.

CREATE TABLE runner (
    id        INTEGER PRIMARY KEY,
    host      TEXT NOT NULL,
    boot_id   TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    pid_space INTEGER NOT NULL,          -- the namespace of its pid
    executor  TEXT NOT NULL,
    slots     INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,          -- raised by each runner that takes over its attempts
    started   REAL NOT NULL,
    expires   REAL NOT NULL,
    ended     REAL,
    keeper    INTEGER REFERENCES runner, -- the runner that took over last
    label     TEXT NOT NULL DEFAULT '',  -- its name
    store     TEXT,                      -- the store's folder, absolute, as the runner knows it
    store_file TEXT,                     -- device and inode of its store.db: those of a copy differ
    offer     TEXT                       -- JSON of domain.models.RunnerCapacity; null: not recorded
);
CREATE INDEX runner_alive ON runner (id) WHERE ended IS NULL;

CREATE TABLE journal (
    worker    TEXT PRIMARY KEY,
    runner    INTEGER NOT NULL REFERENCES runner,
    path      TEXT NOT NULL,             -- relative to the store's folder
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    position  INTEGER NOT NULL DEFAULT 0,  -- bytes that have been ingested
    damaged   INTEGER,                   -- the first byte that could not be read
    damaged_length INTEGER,
    closed    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX journal_open ON journal (runner) WHERE closed = 0;

-- Reruns.

CREATE TABLE rerun (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,            -- 'manual', 'restart', 'accept', 'revision', 'retry', 'supervise', …
    at         REAL NOT NULL,
    digest     TEXT NOT NULL,
    request    TEXT NOT NULL,            -- JSON: selection and how, as asked
    note       TEXT,
    refused    TEXT NOT NULL,            -- JSON
    warnings   TEXT NOT NULL,            -- JSON
    expected   TEXT NOT NULL,            -- JSON
    overwrites TEXT NOT NULL,            -- JSON
    jobs       INTEGER NOT NULL,         -- their number
    undone     REAL,
    dynamic    TEXT NOT NULL DEFAULT '{}'  -- JSON: the actions that it took out of force, and their effects
);
CREATE INDEX rerun_supervised ON rerun (id) WHERE kind = 'supervise';

-- What a rerun does to each job of a set. In a change, -1 stands for the attempt in `rerun_job.own`, and in the detail
-- of the reasons `upstream` and `stays` for the job in `rerun_job.upstream`.
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
    held         TEXT,                 -- what undo restores beside the attempt: the hold …
    canceled     INTEGER NOT NULL,     -- … the cancellation …
    next_before  TEXT,                 -- … and JSON of NextAttempt; null: the default
    PRIMARY KEY (rerun, number)
) WITHOUT ROWID;

CREATE TABLE rerun_job (
    rerun    INTEGER NOT NULL REFERENCES rerun,
    job      INTEGER NOT NULL REFERENCES job,
    change   INTEGER NOT NULL,         -- -> rerun_change.number, of the same rerun
    version  INTEGER NOT NULL,         -- the job's version in the plan
    attempt  INTEGER,                  -- its live attempt before the rerun, which undo restores
    own      INTEGER,                  -- the attempt that its change stands for
    upstream INTEGER,                  -- the job that the reasons of its change stand for
    saved    TEXT,                     -- JSON: the outputs that were saved, for undo to restore
    checked  TEXT,                     -- JSON: when the reuse candidate was checked, and the result
    PRIMARY KEY (rerun, job)
) WITHOUT ROWID;
CREATE INDEX rerun_job_by_job ON rerun_job (job, rerun);

CREATE TABLE supervision (
    id        INTEGER PRIMARY KEY,
    workflow  INTEGER NOT NULL REFERENCES workflow,
    asked     TEXT NOT NULL,             -- JSON: the guards
    began     REAL NOT NULL,
    host      TEXT NOT NULL,             -- the supervising process: …
    boot_id   TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    pid_space INTEGER NOT NULL,          -- … the namespace of its pid
    outcome   TEXT,                      -- why it ends; null: it continues
    report    TEXT,                      -- JSON of domain.batches.supervision_report.SupervisionReport
    ended     REAL,                      -- when its report was delivered
    store_file TEXT                      -- as in runner
);
CREATE UNIQUE INDEX supervision_open ON supervision (workflow) WHERE ended IS NULL;

CREATE TABLE canary_group (
    id        INTEGER PRIMARY KEY,
    rerun     INTEGER NOT NULL REFERENCES rerun,  -- the rerun that ran the canaries
    workflow  INTEGER NOT NULL REFERENCES workflow,
    signature INTEGER NOT NULL REFERENCES signature,
    how       TEXT NOT NULL,             -- JSON of domain.rerun.request.How: how the others run again
    outcome   TEXT,                      -- 'released', 'stopped' or 'dropped'; null: not decided
    why       TEXT,
    released  INTEGER,                   -- -> rerun.id, of kind 'canary': the rerun of the others
    ended     REAL                       -- when it was decided
);
CREATE INDEX canary_group_open ON canary_group (id) WHERE outcome IS NULL;
CREATE INDEX canary_group_by_rerun ON canary_group (rerun);
CREATE INDEX canary_group_by_workflow ON canary_group (workflow, outcome);

CREATE TABLE canary (
    canary_group INTEGER NOT NULL REFERENCES canary_group,
    role         TEXT NOT NULL,          -- 'canary'; 'waits' (while its attempt is live); 'left' (was removed)
    job          INTEGER NOT NULL REFERENCES job,
    attempt      INTEGER,                -- of a job that waits: its live attempt, which failed
    PRIMARY KEY (canary_group, role, job)
) WITHOUT ROWID;
CREATE INDEX canary_by_job ON canary (job);

-- The questions that judges of failures are asked.
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

-- Staleness.

-- The definition, parameters and overrides of an attempt follow from its own row, and are not here.
CREATE TABLE fingerprint (
    attempt  INTEGER NOT NULL REFERENCES attempt,
    part     TEXT NOT NULL,              -- 'needed', 'patched', 'files': see rekindle.domain.changes.fingerprints
    document TEXT NOT NULL,              -- JSON
    PRIMARY KEY (attempt, part)
) WITHOUT ROWID;

CREATE TABLE accepted (
    rerun    INTEGER NOT NULL REFERENCES rerun,  -- of kind 'accept'; without effect once that is undone
    attempt  INTEGER NOT NULL REFERENCES attempt,
    document TEXT NOT NULL,              -- JSON of domain.changes.fingerprints.Baseline: what it is compared with since
    PRIMARY KEY (attempt, rerun)
) WITHOUT ROWID;

-- Modules from which the functions of attempts were loaded.
CREATE TABLE source (
    digest  TEXT PRIMARY KEY,
    modules TEXT NOT NULL                -- JSON: module -> digest of its file
) WITHOUT ROWID;

-- The cache of digests of files.
CREATE TABLE file (
    path     TEXT PRIMARY KEY,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    taken_ns INTEGER NOT NULL,           -- when it was read: soon after mtime, it proves nothing
    digest   TEXT NOT NULL,
    ctime_ns INTEGER NOT NULL DEFAULT 0  -- 0: of an earlier version; matches no file
);

-- Blocks of jobs that were found current, and what this was found from: see rekindle.engine.staleness.assessments.
CREATE TABLE assessment (
    workflow INTEGER NOT NULL REFERENCES workflow,
    block    INTEGER NOT NULL,  -- of consecutive job ids
    basis    TEXT NOT NULL,     -- digest of the rows of the store
    document BLOB NOT NULL,     -- MessagePack: the files, code and variables that were compared
    PRIMARY KEY (workflow, block)
) WITHOUT ROWID;

-- Files of attempts.

-- What a person removed from the history.
CREATE TABLE prune (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    request  TEXT NOT NULL,          -- JSON: the selection and the rules, as asked
    note     TEXT,
    logs     TEXT NOT NULL,          -- 'removed' or 'compressed'
    attempts INTEGER NOT NULL,
    bytes    INTEGER NOT NULL        -- of files, as they were measured before
);

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

-- Attempts whose outputs are in the content store of the spool.
CREATE TABLE cached_output (
    attempt  INTEGER PRIMARY KEY REFERENCES attempt,
    contents INTEGER NOT NULL,       -- the number of its different contents
    bytes    INTEGER NOT NULL,       -- of these; other attempts may have some of them, too
    kept     REAL NOT NULL,
    used     REAL NOT NULL           -- when it was kept or restored last
);
CREATE INDEX cached_output_used ON cached_output (used);

-- Events and other systems.

CREATE TABLE event (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    kind     TEXT NOT NULL,
    workflow INTEGER,
    detail   TEXT NOT NULL               -- JSON
);
CREATE INDEX event_by_workflow ON event (workflow, id);

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

CREATE TABLE api_token (
    id        INTEGER PRIMARY KEY,
    digest    TEXT NOT NULL UNIQUE,   -- SHA-256 of the token, in hexadecimal digits; the token itself is not kept
    scopes    TEXT NOT NULL,          -- with commas
    created   REAL NOT NULL,
    last_used REAL,
    revoked   REAL,
    name      TEXT NOT NULL DEFAULT ''  -- recorded with what is written under the token
);
