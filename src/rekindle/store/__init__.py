"""The store: snapshots and transactions over one SQLite file, with the SQL in named blocks."""
