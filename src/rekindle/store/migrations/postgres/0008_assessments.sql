-- Blocks of jobs that were found current, and what this was found from: see rekindle.engine.staleness.assessments.

CREATE TABLE assessment (
    workflow BIGINT NOT NULL REFERENCES workflow DEFERRABLE,
    block BIGINT NOT NULL,
    basis TEXT COLLATE "C" NOT NULL,
    document BYTEA NOT NULL,
    PRIMARY KEY (workflow, block)
);
