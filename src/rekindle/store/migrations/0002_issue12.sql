-- Projects that are moved and copied: paths are stored relative to the store (see rekindle.store.paths; migrating
-- encodes the absolute ones), and a process that works on a store is recorded with the store that it works on.

ALTER TABLE runner ADD COLUMN store TEXT;          -- the store's folder, absolute, as the runner knows it
ALTER TABLE runner ADD COLUMN store_file TEXT;     -- device and inode of its store.db: a copy's are others
ALTER TABLE supervision ADD COLUMN store_file TEXT;
