-- Job counts and spans of workflows in parts, so that runners at work on one workflow change different rows. A value of
-- a workflow is the sum, or the extreme, of its parts. SQLite, with one writer at a time, has part 0 only.

ALTER TABLE workflow_count RENAME TO whole_count;
CREATE TABLE workflow_count (
    workflow       INTEGER NOT NULL REFERENCES workflow,
    resource_class INTEGER NOT NULL REFERENCES resource_class,
    state          INTEGER NOT NULL,
    part           INTEGER NOT NULL,
    n              INTEGER NOT NULL, -- jobs that are not retired; less than 0 where other parts have more
    PRIMARY KEY (workflow, resource_class, state, part)
) WITHOUT ROWID;
INSERT INTO workflow_count SELECT workflow, resource_class, state, 0, n FROM whole_count;
DROP TABLE whole_count;

CREATE TABLE workflow_span (
    workflow INTEGER NOT NULL REFERENCES workflow,
    part     INTEGER NOT NULL,
    started  REAL,                   -- the first start of an attempt
    ended    REAL,                   -- the last end of an attempt
    PRIMARY KEY (workflow, part)
) WITHOUT ROWID;
INSERT INTO workflow_span SELECT id, 0, started, ended FROM workflow WHERE started IS NOT NULL OR ended IS NOT NULL;
ALTER TABLE workflow DROP COLUMN started;
ALTER TABLE workflow DROP COLUMN ended;
