"""Rerun planning: requests, plans, undo, retries and restarts."""
