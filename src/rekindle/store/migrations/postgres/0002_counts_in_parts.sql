-- Job counts and spans of workflows in parts: see the migration 0006 of SQLite.

ALTER TABLE workflow_count DROP CONSTRAINT workflow_count_pkey;
ALTER TABLE workflow_count RENAME TO whole_count;
CREATE TABLE workflow_count (
    workflow BIGINT NOT NULL REFERENCES workflow DEFERRABLE,
    resource_class BIGINT NOT NULL REFERENCES resource_class DEFERRABLE,
    state BIGINT NOT NULL,
    part BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (workflow, resource_class, state, part)
) WITH (fillfactor = 50);
INSERT INTO workflow_count SELECT workflow, resource_class, state, 0, n FROM whole_count;
DROP TABLE whole_count;

CREATE TABLE workflow_span (
    workflow BIGINT NOT NULL REFERENCES workflow DEFERRABLE,
    part BIGINT NOT NULL,
    started DOUBLE PRECISION,
    ended DOUBLE PRECISION,
    PRIMARY KEY (workflow, part)
) WITH (fillfactor = 50);
INSERT INTO workflow_span SELECT id, 0, started, ended FROM workflow WHERE started IS NOT NULL OR ended IS NOT NULL;
ALTER TABLE workflow DROP COLUMN started;
ALTER TABLE workflow DROP COLUMN ended;
