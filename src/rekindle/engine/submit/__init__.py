"""Store definitions as workflows and their revisions."""
