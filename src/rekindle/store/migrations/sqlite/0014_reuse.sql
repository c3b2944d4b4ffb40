-- Reuse over all history: what identifies an attempt without files, and the attempt that a reused one stands for.

ALTER TABLE attempt ADD COLUMN identity INTEGER;  -- of its definition and values; null: it is not reused by others
ALTER TABLE attempt ADD COLUMN reused_from INTEGER;  -- -> attempt.id: the one that completed the job; 0: it was deleted
CREATE INDEX attempt_reusable ON attempt (identity) WHERE identity IS NOT NULL AND state = 4;
CREATE INDEX attempt_reused ON attempt (reused_from) WHERE reused_from IS NOT NULL;
