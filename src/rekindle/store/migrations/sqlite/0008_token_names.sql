-- Names of tokens, which are recorded with what they write.

ALTER TABLE api_token ADD COLUMN name TEXT NOT NULL DEFAULT '';
