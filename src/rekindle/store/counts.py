"""How many jobs of a workflow and a resource class are in which state, kept with every change."""

from __future__ import annotations

from collections import Counter

from rekindle.store.database import Database
from rekindle.store.queries import load

SQL = load("counts")

CountKey = tuple[int, int, int]
"""Workflow, resource class, state."""


def add_counts(database: Database, deltas: Counter[CountKey]) -> None:
    """Change the counts of (workflow, resource class, state) by so many each."""
    database.change_each(SQL["add_to_count"], [(*key[:2], int(key[2]), n) for key, n in deltas.items() if n])
