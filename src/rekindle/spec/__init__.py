"""FRONT DOOR: spec files (YAML, JSON, TOML) and the Python API become a checked Definition."""

from rekindle.spec.builder import JobHandle, Workflow
from rekindle.spec.loading import load

__all__ = ["JobHandle", "Workflow", "load"]
