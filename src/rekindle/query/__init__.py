"""Selections: what a user typed, as values that the store can compile. No SQL here, and no store."""
