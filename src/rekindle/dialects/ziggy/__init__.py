"""Ziggy's console commands."""
