-- Blocks of jobs that were found current, and what this was found from: see rekindle.engine.staleness.assessments.

CREATE TABLE assessment (
    workflow INTEGER NOT NULL REFERENCES workflow,
    block    INTEGER NOT NULL,  -- of consecutive job ids
    basis    TEXT NOT NULL,     -- digest of the rows of the store
    document BLOB NOT NULL,     -- MessagePack: the files, code and variables that were compared
    PRIMARY KEY (workflow, block)
) WITHOUT ROWID;
