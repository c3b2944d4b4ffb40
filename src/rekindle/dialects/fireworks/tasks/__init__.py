"""FireWorks' Firetasks: the built-in ones, and users' own through the package fireworks."""

from rekindle.dialects.fireworks.tasks.dispatch import run_task

__all__ = ["run_task"]
