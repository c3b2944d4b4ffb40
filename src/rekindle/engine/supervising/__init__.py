"""Supervising: a workflow is rerun in rounds, within guards, until an end condition holds."""
