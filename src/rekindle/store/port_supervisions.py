"""The part of the port that is about supervising. See store.port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rekindle.domain.batches.supervising import End, Member, Supervision
from rekindle.domain.models import Place


class Supervisions(Protocol):
    """Who supervises what, and how a batch stands."""

    def standing(self, workflow: int) -> Supervision | None:
        """The one of a workflow that has not ended: there is one at the most."""
        ...

    def get(self, supervision: int) -> Supervision | None:
        """One."""
        ...

    def begin(self, workflow: int, asked: str, owner: Place, now: float) -> Supervision:
        """A new one. The caller has seen that none stands."""
        ...

    def take(self, supervision: int, owner: Place) -> None:
        """Another process goes on with it."""
        ...

    def is_of(self, supervision: int, owner: Place) -> bool:
        """It has not ended, and this process has it."""
        ...

    def conclude(self, supervision: int, outcome: End, report: str | None) -> None:
        """How it ends: nothing is run again any more, and what is to be told is kept until it has been."""
        ...

    def close(self, supervision: int, now: float) -> None:
        """Its end has been told."""
        ...

    def reruns(self, supervision: int) -> list[tuple[int, Mapping[str, Any]]]:
        """(rerun, its request): what it has run again, oldest first; what was taken back counts."""
        ...

    def taken(self, workflow: int, first: int) -> tuple[int, float]:
        """(attempts, core-seconds) of a workflow's attempts from the id `first` on."""
        ...

    def batch(self, workflow: int) -> list[Member]:
        """The workflow's jobs that are not retired, by id."""
        ...
