"""Definitions into the store: workflows and their revisions."""
