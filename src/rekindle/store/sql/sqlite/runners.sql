-- The clock of leases, in the form of SQLite.

-- name: skew
-- Seconds by which the clock of leases is ahead of `own`, the clock of this process. SQLite has no other clock.
0.0 * :own;
