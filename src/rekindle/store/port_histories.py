"""The part of the port that is about attempts which were over before the archive knew of them. See store.port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rekindle.domain.models import Ending
from rekindle.domain.rerunning.rerun import Take


@dataclass(frozen=True, slots=True)
class PastRow:
    """An attempt that was over before."""

    job: int
    number: int  # from 1, within the job
    token: str
    ending: Ending  # with the attempt's id, which must be free
    folder: str | None = None
    queued: float | None = None
    builds_on: int | None = None
    start_step: int = 0
    runner: str = ""  # what the runner was called that ran it; "": not known


@dataclass(frozen=True, slots=True)
class PastPointers:
    """What a job with a history points to."""

    job: int
    attempts: int  # how many there have been
    attempt: int | None = None  # the live one
    resume_attempt: int | None = None
    resume_step: int = 0
    take: Take | None = None
    folder: str | None = None


class Histories(Protocol):
    """What was over before."""

    def write(self, attempts: Sequence[PastRow], pointers: Sequence[PastPointers], jobs: Sequence[int]) -> None:
        """Write attempts, the runners that ran them, and what their jobs, just submitted and never run here, point to;
        then derive states, unmet counts and counts of `jobs`: all of their workflows'. Attempts that are not live are
        to be archived next."""
        ...

    def archive(self, attempts: Sequence[int], rerun: int) -> None:
        """Attempts that were archived before: `rerun`, of kind `import`, tells of them."""
        ...
