-- Tokens of the HTTP interface.

-- name: insert_token
-- A token.
INSERT INTO api_token (digest, scopes, created, name) VALUES (:digest, :scopes, :created, :name) RETURNING id;

-- name: tokens
-- All tokens, oldest first.
SELECT id, scopes, created, last_used, revoked, name FROM api_token ORDER BY id;

-- name: token_by_digest
-- The token with a digest, unless it has been revoked.
SELECT id, scopes, created, last_used, revoked, name FROM api_token WHERE digest = :digest AND revoked IS NULL;

-- name: use_token
-- A token is used.
UPDATE api_token SET last_used = :at WHERE id = :id;

-- name: revoke_token
-- A token is revoked.
UPDATE api_token SET revoked = :at WHERE id = :id AND revoked IS NULL;
