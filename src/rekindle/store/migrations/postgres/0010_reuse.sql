-- Reuse over all history: see the migration of SQLite with this name.

ALTER TABLE attempt ADD COLUMN identity BIGINT;
ALTER TABLE attempt ADD COLUMN reused_from BIGINT;
CREATE INDEX attempt_reusable ON attempt (identity) WHERE identity IS NOT NULL AND state = 4;
CREATE INDEX attempt_reused ON attempt (reused_from) WHERE reused_from IS NOT NULL;
