"""Allocations: what a batch system gives to the processes of one of its jobs, and until when.

A runner in an allocation starts only jobs that can end in time. A grace period before the end it ends the others, and
their jobs run again from there: see `rekindle.engine.running.time_left`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping

import msgspec

from rekindle.domain.errors import BadValue
from rekindle.engine.slurm_options import parse_slurm_time

GRACE_SECONDS = 60.0
"""The default time between the end of the running attempts and that of the allocation."""

CALL_SECONDS = 10.0
"""How long Slurm may take to say when an allocation ends."""

_MIB = 1 << 20


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """An allocation. None: it sets no such limit. `until` is monotonic: when its processes are killed."""

    name: str = "the allocation"
    cpus: int | None = None
    memory: int | None = None  # bytes
    gpus: int = 0
    until: float | None = None
    grace: float = GRACE_SECONDS  # seconds before `until` at which running attempts are ended


def find_allocation(
    environment: Mapping[str, str], note: Callable[[str], None] | None = None, grace: float = GRACE_SECONDS
) -> Allocation | None:
    """Return the allocation of Slurm that this process runs in, or None. `note` receives a warning if Slurm does not
    say when it ends.

    The shell of `salloc` is in none: it may run on a login node."""
    job = environment.get("SLURM_JOB_ID")
    if job is None or "SLURMD_NODENAME" not in environment:
        return None
    until = _slurm_end(job, environment)
    if until is None and note is not None:
        note(f"Slurm does not say when job {job} ends: jobs that run then are lost, and run again")
    cpus = _number(environment, "SLURM_CPUS_ON_NODE")
    return Allocation(
        name=f"Slurm job {job}",
        cpus=cpus,
        memory=_memory(environment, cpus),
        gpus=_gpus(environment),
        until=until,
        grace=grace,
    )


def _memory(environment: Mapping[str, str], cpus: int | None) -> int | None:
    """Return the memory on this node. Slurm says 0 for all memory of the node."""
    megabytes = _number(environment, "SLURM_MEM_PER_NODE")
    each = _number(environment, "SLURM_MEM_PER_CPU")
    if not megabytes and each and cpus:
        megabytes = each * cpus
    return megabytes * _MIB if megabytes else None


def _gpus(environment: Mapping[str, str]) -> int:
    known = _number(environment, "SLURM_GPUS_ON_NODE")
    devices = environment.get("SLURM_JOB_GPUS", "")
    return known if known is not None else len([one for one in devices.split(",") if one])


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None


def _slurm_end(job: str, environment: Mapping[str, str]) -> float | None:
    """Return when a job of Slurm ends (monotonic); infinity: never. None: Slurm does not answer.

    Newer versions set SLURM_JOB_END_TIME. Older ones are asked for the seconds left, which need no equal clocks."""
    if end := _number(environment, "SLURM_JOB_END_TIME"):
        return time.monotonic() + end - time.time()
    import subprocess

    try:
        asked = subprocess.run(
            ["squeue", "--noheader", f"--job={job}", "--format=%L"],
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        left = asked.stdout.split("\n", 1)[0].strip()
        return math.inf if left == "UNLIMITED" else time.monotonic() + parse_slurm_time(left)
    except (OSError, subprocess.SubprocessError, BadValue):
        return None
