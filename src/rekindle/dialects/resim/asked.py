"""What a batch was asked to be: kept in the parameters of its workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PARAM = "resim"
"""The parameter of a workflow that says it; only batches that came through this dialect have it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """All but which experiences it has."""

    config: str  # the file, relative to the folder of the batch's workflow
    build: str
    metrics_build: str | None = None
    test_suite: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    allowable_failure_percent: int = 0
    account: str = ""
    pool_labels: tuple[str, ...] = ()


def told(asked: Asked) -> dict[str, Any]:
    """As parameters of the workflow."""
    return {PARAM: {**asdict(asked), "parameters": dict(asked.parameters), "pool_labels": list(asked.pool_labels)}}


def asked_of(params: Mapping[str, Any]) -> Asked | None:
    """What a workflow's parameters say; None: it did not come through this dialect."""
    found = params.get(PARAM)
    if not isinstance(found, dict) or "config" not in found:
        return None
    return Asked(**{**found, "pool_labels": tuple(found["pool_labels"])})
