-- Processes that an attempt leaves running: which they were, and whether they were killed.

ALTER TABLE attempt ADD COLUMN left_running TEXT;  -- JSON: see rekindle.domain.models.LeftRunning; null: none
-- What runners have for jobs (JSON: rekindle.domain.models.RunnerCapacity); null: not recorded.

ALTER TABLE runner ADD COLUMN offer TEXT;
-- Permissions: a store that other users can enter becomes private with this migration (see rekindle.store.opening).
