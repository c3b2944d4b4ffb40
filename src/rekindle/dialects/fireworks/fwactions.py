"""FWActions as documents: what of one leaves out the tasks behind it, and two of them as one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rekindle.domain.models import StepOutcome

STOPPING = ("exit", "additions", "detours", "append_wfs", "defuse_children", "defuse_workflow")
"""What of an FWAction leaves out the tasks behind it, as FireWorks does."""


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two FWActions, in their order, as one."""
    found: dict[str, Any] = {**one, **other}
    for key in ("stored_data", "update_spec"):
        if key in one or key in other:
            found[key] = {**one.get(key, {}), **other.get(key, {})}
    for key in ("mod_spec", "additions", "detours", "append_wfs"):
        if key in one or key in other:
            found[key] = [*one.get(key, ()), *other.get(key, ())]
    return found


def done_by(steps: Iterable[StepOutcome]) -> dict[str, Any]:
    """What the tasks of these steps did, as one FWAction."""
    found: dict[str, Any] = {}
    for step in steps:
        result = json.loads(step.result) if step.result else None
        if isinstance(result, Mapping):
            found = merged(found, result)
    return found
