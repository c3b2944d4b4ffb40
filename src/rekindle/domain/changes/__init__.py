"""The law of change detection: what counts as different, of attempts and of definitions."""
