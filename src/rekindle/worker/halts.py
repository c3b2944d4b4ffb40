"""Why a step was ended that would have gone on: by this worker, for a limit or because it was asked to, or by the
kernel. What that is concluded from is kept with the attempt as its evidence."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rekindle.domain.causes import Cause
from rekindle.journal.encoding import to_json
from rekindle.journal.oomkills import OomKills
from rekindle.worker.clock import date
from rekindle.worker.findings import StepEnd

_BY_A_KILL = (Cause.SIGNAL, Cause.EXIT)
_KILLED = 137  # what a shell ends with whose last command was killed


@dataclass(frozen=True, slots=True)
class Halt:
    """Why this worker made a step end. `peak`: the bytes that its processes were seen to hold."""

    cause: Cause
    message: str
    evidence: Mapping[str, Any] | None = None
    peak: int = 0

    def told(self, end: StepEnd) -> StepEnd:
        """The end of that step, with the evidence."""
        if end.cause is not self.cause or self.evidence is None:
            return end
        return msgspec.structs.replace(
            end, evidence=_text(self.evidence), max_rss_bytes=max(end.max_rss_bytes or 0, self.peak) or None
        )


def canceled() -> Halt:
    """Somebody asked for its end."""
    return Halt(Cause.CANCELED, "canceled while it ran")


def over_time(limit: float, elapsed: float) -> Halt:
    """It ran longer than its limit, in seconds."""
    evidence = {"limit_seconds": limit, "elapsed_seconds": round(elapsed, 3)}
    return Halt(Cause.TIMEOUT, f"ran longer than its limit of {limit:g} s", evidence)


def over_memory(limit: int, held: int) -> Halt:
    """Its processes held more than its limit, in bytes."""
    from rekindle.domain.texts.quantities import format_size

    seen = "a sample of what its processes held"
    evidence = {"limit_bytes": limit, "peak_bytes": held, "seen": seen, "at": date()}
    return Halt(Cause.OOM, f"held {format_size(held)}, over its limit of {format_size(limit)}", evidence, held)


def judged(end: StepEnd, kills: OomKills, before: int) -> StepEnd:
    """The end of a step that began when the kernel had killed `before` times: OOM where it was killed by nobody here
    and the kernel has killed since."""
    if end.cause not in _BY_A_KILL or (end.signal != signal.SIGKILL and end.exit_code != _KILLED):
        return end
    found = kills.since(before)
    if found is None or end.failure is None:
        return end
    failure = dataclasses.replace(end.failure, message=f"{end.failure.message}: the kernel was out of memory")
    evidence = {**found, "peak_bytes": end.max_rss_bytes, "at": end.ended}
    return msgspec.structs.replace(end, cause=Cause.OOM, failure=failure, evidence=_text(evidence))


def _text(evidence: Mapping[str, Any]) -> str:
    return to_json(evidence).decode()
