"""Batches of jobs: supervision, canaries and flakiness."""
