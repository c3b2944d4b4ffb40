"""The rows: each module lists its own in ROWS."""
