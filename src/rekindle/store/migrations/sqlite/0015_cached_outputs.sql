-- Attempts whose outputs are in the content store of the spool.

CREATE TABLE cached_output (
    attempt  INTEGER PRIMARY KEY REFERENCES attempt,
    contents INTEGER NOT NULL,       -- different contents that it has left
    bytes    INTEGER NOT NULL,       -- of these; other attempts may have left the same
    kept     REAL NOT NULL,
    used     REAL NOT NULL           -- when it was kept or restored last
);
CREATE INDEX cached_output_used ON cached_output (used);
