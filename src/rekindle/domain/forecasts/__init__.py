"""Forecasts: when unfinished jobs will be done, and which of them decide it."""
