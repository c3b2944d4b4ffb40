"""Checks of an installation: what `rekindle doctor` reports."""
