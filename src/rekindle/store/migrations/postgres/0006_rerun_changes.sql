-- The jobs of a rerun as sets: see the migration of SQLite with this name.

CREATE TABLE rerun_change (
    rerun BIGINT NOT NULL REFERENCES rerun DEFERRABLE,
    number BIGINT NOT NULL,
    before BIGINT NOT NULL,
    after BIGINT NOT NULL,
    unmet BIGINT NOT NULL,
    start TEXT COLLATE "C" NOT NULL,
    keeps TEXT COLLATE "C" NOT NULL,
    reasons TEXT COLLATE "C" NOT NULL,
    archives TEXT COLLATE "C" NOT NULL,
    next_attempt TEXT COLLATE "C",
    changes TEXT COLLATE "C",
    saves TEXT COLLATE "C",
    stays BIGINT NOT NULL,
    holds TEXT COLLATE "C",
    releases BIGINT NOT NULL,
    held TEXT COLLATE "C",
    canceled BIGINT NOT NULL,
    next_before TEXT COLLATE "C",
    PRIMARY KEY (rerun, number)
);

ALTER TABLE rerun_job RENAME TO whole_rerun_job;
DROP INDEX rerun_job_by_job;
ALTER TABLE whole_rerun_job DROP CONSTRAINT rerun_job_pkey;
CREATE TABLE rerun_job (
    rerun BIGINT NOT NULL REFERENCES rerun DEFERRABLE,
    job BIGINT NOT NULL REFERENCES job DEFERRABLE,
    change BIGINT NOT NULL,
    version BIGINT NOT NULL,
    attempt BIGINT,
    own BIGINT,
    upstream BIGINT,
    saved TEXT COLLATE "C",
    checked TEXT COLLATE "C",
    PRIMARY KEY (rerun, job)
);

INSERT INTO rerun_change SELECT rerun, job, before, after, unmet, start, keeps, reasons, archives, next_attempt, changes,
    saves, stays, holds, releases, json_extract(pointers, '$.held'),
    CASE json_extract(pointers, '$.canceled') WHEN 'true' THEN 1 ELSE 0 END,
    nullif(json_extract(pointers, '$.next'), '{}')
FROM whole_rerun_job;
INSERT INTO rerun_job SELECT rerun, job, job, version, CAST(json_extract(pointers, '$.attempt') AS BIGINT), NULL, NULL,
    saved, checked
FROM whole_rerun_job;
DROP TABLE whole_rerun_job;
CREATE INDEX rerun_job_by_job ON rerun_job (job, rerun);
