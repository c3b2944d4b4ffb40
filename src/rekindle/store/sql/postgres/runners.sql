-- The clock of leases, in the form of PostgreSQL.

-- name: skew
-- Seconds by which the clock of leases is ahead of `own`, the clock of this process. SQLite has no other clock.
round(CAST(extract(epoch FROM clock_timestamp()) AS double precision) - :own);
