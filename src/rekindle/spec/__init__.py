"""Read spec files (YAML, JSON, TOML) and workflows built in Python into checked Definitions."""

from rekindle.spec.builder import JobHandle, Workflow
from rekindle.spec.loading import load

__all__ = ["JobHandle", "Workflow", "load"]
