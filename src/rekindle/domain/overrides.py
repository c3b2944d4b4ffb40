"""What a rerun changes of a job's parameters, environment and resources: recorded on the attempts as "modified"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Amount:
    """A resource as asked for on a rerun: `value` itself, or `factor` times what the job has. Exactly one is set."""

    value: float | None = None
    factor: float | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What `--set`, `--env`, `--memory`, `--time` and `--cpus` asked for. Memory is in bytes, time in seconds."""

    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    memory: Amount | None = None
    time: Amount | None = None
    cpus: float | None = None
