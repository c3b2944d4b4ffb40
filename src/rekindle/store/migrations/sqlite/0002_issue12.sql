-- Projects that are moved and copied: paths are stored relative to the store (see rekindle.store.paths; migrating
-- encodes the absolute ones), and a process that works on a store is recorded with the store that it works on.

ALTER TABLE runner ADD COLUMN store TEXT;          -- the store's folder, absolute, as the runner knows it
ALTER TABLE runner ADD COLUMN store_file TEXT;     -- device and inode of its store.db: a copy's are others
ALTER TABLE supervision ADD COLUMN store_file TEXT;
-- Content of files: the change time is part of the key of the digest cache, and a subtask records what its file held.

-- 0 matches no file: what was read before this column existed is read again.
ALTER TABLE file ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;

-- What the file of the item held when the subtask was planned; null: not compared.
ALTER TABLE subtask ADD COLUMN digest TEXT;
