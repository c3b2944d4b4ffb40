"""ARCHIVE: one port, SQLite behind it; SQL in named blocks."""
