-- The archive's first shape. States are the numbers of rekindle.domain.states.State; times are seconds
-- since the epoch, UTC; JSON is text. Nothing here is ever deleted by a rerun.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,          -- 'identity' (a UUID), 'created', 'highest_…' (ids that stay used up)
    value TEXT NOT NULL
);

CREATE TABLE workflow (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,     -- not unique: the newest of a name is meant
    project       TEXT,
    directory     TEXT NOT NULL,
    source        TEXT,
    source_digest TEXT,
    revision      INTEGER NOT NULL,  -- the latest
    submitted     REAL NOT NULL,     -- the first submission
    started       REAL,              -- its first attempt did; kept here so that a look reads no attempts
    ended         REAL,              -- its last attempt did
    archived      REAL
);
CREATE INDEX workflow_by_name ON workflow (name, id);

CREATE TABLE revision (
    workflow      INTEGER NOT NULL REFERENCES workflow,
    number        INTEGER NOT NULL,
    submitted     REAL NOT NULL,
    params        TEXT NOT NULL,     -- JSON
    source_digest TEXT,
    rerun         INTEGER,           -- -> rerun.id, of kind 'revision': what it did; null: it is the first
    earlier       BLOB,              -- deflated JSON: how jobs and edges were before; see rekindle.store.revisions
    PRIMARY KEY (workflow, number)
) WITHOUT ROWID;

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
    revision       INTEGER NOT NULL, -- the revision that brought it; later ones keep it while it is the same
    name           TEXT NOT NULL,
    body           TEXT NOT NULL,    -- JSON of domain.definition.JobTemplate
    resource_class INTEGER NOT NULL REFERENCES resource_class
);
CREATE INDEX template_by_workflow ON template (workflow);

CREATE TABLE workflow_count (
    workflow       INTEGER NOT NULL REFERENCES workflow,
    resource_class INTEGER NOT NULL REFERENCES resource_class,
    state          INTEGER NOT NULL,
    n              INTEGER NOT NULL, -- jobs that are not retired
    PRIMARY KEY (workflow, resource_class, state)
) WITHOUT ROWID;

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
    reserve        INTEGER,              -- a COMPLETED one that early cut-off may reinstate
    held           TEXT,                 -- the reason; null: not held
    canceled       INTEGER NOT NULL DEFAULT 0,
    retired        INTEGER NOT NULL DEFAULT 0,
    when_finished  INTEGER NOT NULL DEFAULT 0,  -- for it, what has ended or can no longer be reached is done
    not_before     REAL,                 -- a delayed retry; null once that time has come
    delayed_since  REAL,                 -- when it was last reset: with a delay, its beginning
    avoids         TEXT,                 -- the host where it failed, and where it does not run while another works
    repeats        INTEGER NOT NULL DEFAULT 0,  -- how often more it runs after its live, or its next, attempt
    added_by       INTEGER,              -- the attempt whose action added it
    resume_attempt INTEGER,              -- the next attempt builds on this one ...
    resume_step    INTEGER NOT NULL DEFAULT 0,
    keep_recovery  INTEGER,              -- the rerun since which plain reruns resume there too; null: they do not
    workdir        TEXT,                 -- the next attempt's folder: 'copy' or 'same' of ...; null: new
    folder         TEXT,                 -- ... this one, an earlier attempt's
    subtasks       TEXT,                 -- JSON: which subtasks the next attempt runs where it resumes a fan-out
    pinned_to      INTEGER,              -- the next attempt takes its definition from this attempt
    overrides      TEXT,                 -- JSON: parameters, environment, resources of the next attempts
    UNIQUE (workflow, name)
);
CREATE INDEX job_ready ON job (workflow, resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reserve IS NULL AND not_before IS NULL;
-- READY with an attempt in reserve: it is looked at whether that one still holds, before the job may be claimed.
CREATE INDEX job_check ON job (workflow, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reserve IS NOT NULL;
-- Few are held, and whoever wonders why nothing runs asks for them.
CREATE INDEX job_held ON job (workflow, state) WHERE held IS NOT NULL;
CREATE INDEX job_when_finished ON job (workflow) WHERE when_finished = 1;
CREATE INDEX job_added ON job (added_by) WHERE added_by IS NOT NULL;
CREATE INDEX job_delayed ON job (not_before) WHERE not_before IS NOT NULL;
-- What users ask for most. A job that goes well never enters it, so that it costs the hot path nothing.
CREATE INDEX job_ended_badly ON job (workflow, state, id) WHERE state = 5 OR state = 6;

CREATE TABLE edge (
    parent   INTEGER NOT NULL REFERENCES job,
    child    INTEGER NOT NULL REFERENCES job,
    added_by INTEGER,                    -- the attempt whose action added it
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (child, parent);
CREATE INDEX edge_added ON edge (added_by) WHERE added_by IS NOT NULL;

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
    pinned_to       INTEGER,             -- the attempt whose definition it took; null: the latest
    code            TEXT,                -- -> source.digest: the modules that its functions were loaded from
    runner          INTEGER,
    worker          TEXT,
    host            TEXT,
    pid             INTEGER,
    pid_start       INTEGER,
    folder          TEXT,
    shared          INTEGER NOT NULL DEFAULT 0,  -- others may be in that folder too: it is never removed
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
    evidence        TEXT,                -- JSON: what the cause was concluded from
    cpu_seconds     REAL,
    max_rss_bytes   INTEGER,
    result          TEXT,                -- JSON
    verdict         TEXT,                -- passed, warning, blocker ...
    verdict_message TEXT,                -- ... and why
    builds_on       INTEGER,             -- the attempt whose steps it keeps
    start_step      INTEGER NOT NULL DEFAULT 0,
    overrides       TEXT,                -- JSON; not null: modified
    partial         INTEGER NOT NULL DEFAULT 0,
    acts            INTEGER NOT NULL DEFAULT 0,  -- its steps' actions are in force
    cancel          INTEGER NOT NULL DEFAULT 0,  -- its end was asked for
    archived_by     INTEGER              -- -> rerun.id; null: live
);
CREATE INDEX attempt_by_job ON attempt (job);
CREATE INDEX attempt_acting ON attempt (job) WHERE acts = 1;
CREATE INDEX attempt_partial ON attempt (id) WHERE partial = 1;
CREATE INDEX attempt_active ON attempt (runner) WHERE state IN (2, 3);
-- What a rerun has archived and asked to end: until it has ended, nothing is claimed that would disturb it.
CREATE INDEX attempt_leaving ON attempt (job) WHERE archived_by IS NOT NULL AND state IN (2, 3);
-- Of most jobs there is nothing to say; those that passed never enter it.
CREATE INDEX attempt_found ON attempt (workflow, verdict, job)
    WHERE verdict IN ('warning', 'blocker') AND archived_by IS NULL;
-- All that grouping failures reads: 100,000 of them are counted without looking at one attempt.
CREATE INDEX attempt_failed ON attempt (workflow, signature, host, archived_by, ended, job)
    WHERE signature IS NOT NULL;

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
    kept_from INTEGER,                   -- the attempt that did it
    action    TEXT,                      -- JSON: the dynamic action that it staged
    verdict   TEXT,
    verdict_message TEXT,
    PRIMARY KEY (attempt, position)
) WITHOUT ROWID;
CREATE INDEX step_action ON step (attempt) WHERE action IS NOT NULL;

CREATE TABLE fan_out (
    attempt INTEGER NOT NULL REFERENCES attempt,
    step    INTEGER NOT NULL,
    total   INTEGER NOT NULL,            -- items, kept ones too
    base    INTEGER,                     -- the attempt whose subtasks it keeps, where it has no row of its own for them
    gone    TEXT NOT NULL,               -- JSON: indices of the base's subtasks that are no more
    PRIMARY KEY (attempt, step)
) WITHOUT ROWID;

CREATE TABLE subtask (
    attempt   INTEGER NOT NULL REFERENCES attempt,
    step      INTEGER NOT NULL,
    idx       INTEGER NOT NULL,          -- a number that it keeps through the attempts that build on each other
    item      TEXT NOT NULL,             -- JSON; its identity
    state     INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    cause     TEXT,
    exit_code INTEGER,
    signal    INTEGER,
    started   REAL,
    ended     REAL,
    result    TEXT,
    PRIMARY KEY (attempt, step, idx)
) WITHOUT ROWID;

CREATE TABLE patch (
    id       INTEGER PRIMARY KEY,
    attempt  INTEGER NOT NULL REFERENCES attempt,  -- whose action it is; in force while that attempt's set is
    job      INTEGER NOT NULL REFERENCES job,      -- whose parameters it changes
    change   TEXT NOT NULL,                        -- JSON
    in_force INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX patch_by_job ON patch (job) WHERE in_force = 1;
CREATE INDEX patch_by_attempt ON patch (attempt);

CREATE TABLE rerun (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,            -- manual, restart, reset, accept, revision, import; retry, repeat, canary, supervise, recovery
    at         REAL NOT NULL,
    digest     TEXT NOT NULL,
    request    TEXT NOT NULL,            -- JSON: selection and how, as asked
    note       TEXT,
    refused    TEXT NOT NULL,            -- JSON
    warnings   TEXT NOT NULL,            -- JSON
    expected   TEXT NOT NULL,            -- JSON
    overwrites TEXT NOT NULL,            -- JSON
    jobs       INTEGER NOT NULL,         -- how many it touched
    undone     REAL,
    dynamic    TEXT NOT NULL DEFAULT '{}'  -- JSON: the sets that it took out of force, and what they had brought
);

CREATE INDEX rerun_supervised ON rerun (id) WHERE kind = 'supervise';

CREATE TABLE supervision (
    id        INTEGER PRIMARY KEY,
    workflow  INTEGER NOT NULL REFERENCES workflow,
    asked     TEXT NOT NULL,             -- JSON: the guards; its reruns name it in their requests
    began     REAL NOT NULL,
    host      TEXT NOT NULL,             -- who supervises now ...
    boot_id   TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    pid_space INTEGER NOT NULL,          -- ... in which namespace of processes
    outcome   TEXT,                      -- why it ends; null: it goes on
    report    TEXT,                      -- JSON of domain.supervised.Report: to be told, or told
    ended     REAL                       -- it has been told
);
CREATE UNIQUE INDEX supervision_open ON supervision (workflow) WHERE ended IS NULL;

CREATE TABLE rerun_job (
    rerun          INTEGER NOT NULL REFERENCES rerun,
    job            INTEGER NOT NULL REFERENCES job,
    version        INTEGER NOT NULL,     -- that the plan was bound to
    before         INTEGER NOT NULL,     -- state; of a job that a revision adds: WAITING
    after          INTEGER NOT NULL,
    unmet          INTEGER NOT NULL,     -- after
    start          TEXT NOT NULL,        -- 'beginning' or a step's name
    resume_attempt INTEGER,
    resume_step    INTEGER NOT NULL,
    keeps          TEXT NOT NULL,        -- JSON: names of steps
    reasons        TEXT NOT NULL,        -- JSON
    archives       TEXT NOT NULL,        -- JSON: attempt ids
    subtasks       TEXT,                 -- JSON: which run where it resumes a fan-out
    pointers       TEXT NOT NULL,        -- JSON: what undo puts back
    manner         TEXT,                 -- JSON of domain.rerun.Manner; null: nothing out of the ordinary
    saved          TEXT,                 -- JSON: the outputs that were saved, for undo to put back
    reserve        INTEGER,              -- the attempt that early cut-off may reinstate
    pinned_to      INTEGER,              -- the attempt whose definition is taken
    stays          INTEGER NOT NULL DEFAULT 0,  -- not reset: only its state and unmet count follow what it needs
    holds          TEXT,                 -- the reason for which it is held from now on
    releases       INTEGER NOT NULL DEFAULT 0,  -- it was held, and is not any more
    checked        TEXT,                 -- JSON: when the reserve was looked at, and what came of it
    PRIMARY KEY (rerun, job)
) WITHOUT ROWID;
CREATE INDEX rerun_job_by_job ON rerun_job (job, rerun);

CREATE TABLE canary_group (
    id        INTEGER PRIMARY KEY,
    rerun     INTEGER NOT NULL REFERENCES rerun,  -- that ran the canaries
    workflow  INTEGER NOT NULL REFERENCES workflow,
    signature INTEGER NOT NULL REFERENCES signature,
    how       TEXT NOT NULL,             -- JSON of domain.rerun.How: how the rest runs again
    outcome   TEXT,                      -- released, stopped, dropped; null: not decided
    why       TEXT,
    released  INTEGER,                   -- -> rerun.id, of kind 'canary': the rest
    ended     REAL                       -- when it was decided
);
CREATE INDEX canary_group_open ON canary_group (id) WHERE outcome IS NULL;
CREATE INDEX canary_group_by_rerun ON canary_group (rerun);
CREATE INDEX canary_group_by_workflow ON canary_group (workflow, outcome);

CREATE TABLE canary (
    canary_group INTEGER NOT NULL REFERENCES canary_group,
    role         TEXT NOT NULL,          -- canary; waits (as long as its attempt is live); left: was taken out
    job          INTEGER NOT NULL REFERENCES job,
    attempt      INTEGER,                -- of one that waits: its live one, which failed
    PRIMARY KEY (canary_group, role, job)
) WITHOUT ROWID;
CREATE INDEX canary_by_job ON canary (job);

CREATE TABLE runner (
    id        INTEGER PRIMARY KEY,
    host      TEXT NOT NULL,
    boot_id   TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    pid_space INTEGER NOT NULL,          -- the namespace in which pid means it
    executor  TEXT NOT NULL,
    slots     INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,          -- raised by each that takes over what it left
    started   REAL NOT NULL,
    expires   REAL NOT NULL,
    ended     REAL,
    keeper    INTEGER REFERENCES runner, -- the runner that took over last
    label     TEXT NOT NULL DEFAULT ''   -- what it is called
);
CREATE INDEX runner_alive ON runner (id) WHERE ended IS NULL;

CREATE TABLE journal (
    worker    TEXT PRIMARY KEY,
    runner    INTEGER NOT NULL REFERENCES runner,
    path      TEXT NOT NULL,             -- relative to the store's folder
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    position  INTEGER NOT NULL DEFAULT 0,  -- bytes that have been ingested
    damaged   INTEGER,                   -- the byte from which on some of them could not be read, for the first time
    damaged_length INTEGER,
    closed    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX journal_open ON journal (runner) WHERE closed = 0;

CREATE TABLE fingerprint (
    attempt  INTEGER NOT NULL REFERENCES attempt,
    part     TEXT NOT NULL,              -- 'needed', 'patched', 'files': see rekindle.domain.changes.fingerprints
    document TEXT NOT NULL,              -- JSON
    PRIMARY KEY (attempt, part)
) WITHOUT ROWID;

-- Definition, parameters and overrides that an attempt ran with follow from its own row; they are not copied.

CREATE TABLE accepted (
    rerun    INTEGER NOT NULL REFERENCES rerun,  -- of kind 'accept'; void once that is undone
    attempt  INTEGER NOT NULL REFERENCES attempt,
    document TEXT NOT NULL,              -- JSON of domain.prints.Basis: what the attempt is measured by since
    PRIMARY KEY (attempt, rerun)
) WITHOUT ROWID;

CREATE TABLE source (
    digest  TEXT PRIMARY KEY,
    modules TEXT NOT NULL                -- JSON: module -> digest of its file
) WITHOUT ROWID;

CREATE TABLE file (
    path     TEXT PRIMARY KEY,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    taken_ns INTEGER NOT NULL,           -- when it was read: a look that is too young for its mtime proves nothing
    digest   TEXT NOT NULL
);

CREATE TABLE signature (
    id      INTEGER PRIMARY KEY,
    digest  TEXT NOT NULL UNIQUE,
    cause   TEXT NOT NULL,
    type    TEXT NOT NULL,
    message TEXT NOT NULL                -- normalised
);

CREATE TABLE event (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    kind     TEXT NOT NULL,
    workflow INTEGER,
    detail   TEXT NOT NULL               -- JSON
);
CREATE INDEX event_by_workflow ON event (workflow, id);
