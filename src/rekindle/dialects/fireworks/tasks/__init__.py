"""FireWorks' Firetasks: the built-in ones, and users' own through the real package."""

from rekindle.dialects.fireworks.tasks.running import run_task

__all__ = ["run_task"]
