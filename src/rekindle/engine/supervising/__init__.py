"""Supervising: a batch is run again in rounds, within guards, until something ends it."""
