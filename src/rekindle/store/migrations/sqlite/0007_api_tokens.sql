-- Tokens of the HTTP interface.

CREATE TABLE api_token (
    id        INTEGER PRIMARY KEY,
    digest    TEXT NOT NULL UNIQUE,   -- SHA-256 of the token, in hexadecimal digits; the token itself is not kept
    scopes    TEXT NOT NULL,          -- with commas
    created   REAL NOT NULL,
    last_used REAL,
    revoked   REAL
);
