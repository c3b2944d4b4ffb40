-- Processes that an attempt leaves running: which they were, and whether they were killed.

ALTER TABLE attempt ADD COLUMN left_running TEXT;  -- JSON: see rekindle.domain.models.LeftRunning; null: none
