-- Attempts whose outputs are in the content store of the spool.

CREATE TABLE cached_output (
    attempt BIGINT PRIMARY KEY REFERENCES attempt DEFERRABLE,
    contents BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    kept DOUBLE PRECISION NOT NULL,
    used DOUBLE PRECISION NOT NULL
);
CREATE INDEX cached_output_used ON cached_output (used);
