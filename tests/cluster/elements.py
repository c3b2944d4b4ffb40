"""Batches of small shell scripts, and what a placement says of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rekindle.executors.placement import Batch, Phase, Seen
from rekindle.executors.slurm import SlurmPlacement
from slurm_cluster import until


def batch(folder: Path, script: str, elements: int = 1, **more: Any) -> Batch:
    """Return a batch. In the script, $1 is the element's index; files are in the batch's folder."""
    token = secrets.token_hex(8)
    made = folder / token
    made.mkdir()
    return Batch(
        token=token,
        name=f"rk-test-{token}",
        argv=("sh", "-c", script, "element"),
        elements=elements,
        folder=str(made),
        **{"seconds": 600, "memory": 64 << 20} | more,
    )


def states(placement: SlurmPlacement, handle: str) -> dict[int, Seen]:
    """Return what is seen of a batch, by element."""
    return {one.element: one for one in placement.poll([handle])}


def wait(placement: SlurmPlacement, handle: str, condition: Callable[[dict[int, Seen]], object]) -> dict[int, Seen]:
    """Poll until a condition holds; return what is seen then."""
    seen: dict[int, Seen] = {}

    def holds() -> object:
        seen.clear()
        seen.update(states(placement, handle))
        return condition(seen)

    until(holds, 60)
    return seen


def all_are(phase: Phase, elements: int = 1) -> Callable[[dict[int, Seen]], bool]:
    """Return the condition that all elements of a batch are in a phase."""
    return lambda seen: len(seen) == elements and all(one.phase is phase for one in seen.values())


def wait_for_end(placement: SlurmPlacement, handle: str, elements: int = 1) -> dict[int, Seen]:
    """Poll until all elements have ended, and once more for what accounting adds."""
    wait(placement, handle, all_are(Phase.ENDED, elements))
    return states(placement, handle)
