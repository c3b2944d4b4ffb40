"""rekindle runs workflows of jobs, and runs again exactly what must run again."""

__version__ = "0.1.0.dev0"
