"""Change detection: differences between attempts and between definitions."""
