"""Deterministic simulation of the engine and the store: a seed decides everything that a real run leaves to chance.

The engine (runner loop, claims, ingest, recovery, planner, apply, undo) and the store (a SQLite file) are real. Several
runners, their workers and a person's commands take turns in one thread. Clocks, random numbers, processes and the
outcomes of jobs are simulated, and writes of files and of the database fail or kill their process. Equal seeds give
equal event logs, byte for byte:

    python -m rekindle.testing.simulation 17
"""

from rekindle.testing.simulation.scheduler import Contradiction, play

__all__ = ["Contradiction", "play"]
