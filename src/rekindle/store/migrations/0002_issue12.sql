-- Content of files: the change time is part of the key of the digest cache, and a subtask records what its file held.

-- 0 matches no file: what was read before this column existed is read again.
ALTER TABLE file ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;

-- What the file of the item held when the subtask was planned; null: not compared.
ALTER TABLE subtask ADD COLUMN digest TEXT;
