"""The part of the port that is about runners and events. See store.port."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from rekindle.domain.models import Event, Offer, Place, Runner


class Runners(Protocol):
    """Runners, leases and their workers' journals."""

    def register(
        self,
        place: Place,
        executor: str,
        slots: int,
        now: float,
        lease: float,
        label: str = "",
        offer: Offer | None = None,
    ) -> Runner:
        """A new runner, alive until now + lease, of epoch 1. `label`: what it is called; `offer`: what it has."""
        ...

    def renew(self, runner: int, epoch: int, until: float) -> bool:
        """Extend the lease; False: another has taken over (epoch moved) or it was ended."""
        ...

    def end(self, runner: int, now: float) -> None:
        """It ended, or was found dead."""
        ...

    def abandon(self, runner: int, epoch: int) -> None:
        """Its process lives, and does nothing more for it: from now on it counts as dead. Nothing is changed once
        another has taken over."""
        ...

    def take_over(self, runner: int, epoch: int, keeper: int | None = None) -> bool:
        """Raise the epoch of a dead runner, if it still stands at `epoch`: exactly one caller gets True. `keeper` is
        the runner that sees to what it left from now on, if it is one."""
        ...

    def find(self, runner: int) -> Runner | None:
        """A runner, also one that has ended."""
        ...

    def alive(self) -> list[Runner]:
        """Runners that have not ended, by the rows alone: whether they are alive is for engine.presence to say."""
        ...

    def with_room(self) -> list[int]:
        """The ids of those of them that have fewer active attempts than slots."""
        ...

    def open_journal(self, runner: int, worker: str, path: str, pid: int, pid_start: int) -> None:
        """A worker's journal will be at `path` (relative to the store's folder)."""
        ...

    def journals(self, runner: int) -> list[tuple[str, str, int, int, int]]:
        """(worker, path, pid, pid_start, position) of a runner's journals that are not closed."""
        ...

    def advance(self, worker: str, position: int) -> None:
        """Everything before `position` has been ingested, in this transaction."""
        ...

    def damage(self, worker: str, byte: int, length: int) -> str:
        """So many bytes of a worker's journal could not be read. Returns the journal's path, relative to the store."""
        ...

    def damages(self, runner: int) -> list[tuple[str, int, int]]:
        """(path, byte, length): where those of a runner's journals that are not closed could first not be read."""
        ...

    def close_journal(self, worker: str) -> None:
        """Nothing more will come from it."""
        ...


class Events(Protocol):
    """What happened, one row a batch or operation."""

    def add(self, at: float, kind: str, workflow: int | None, detail: Mapping[str, Any]) -> None: ...

    def listing(self, workflow: int | None, after: int = 0, limit: int | None = None, at: int = 0) -> list[Event]:
        """Oldest first; with a limit the newest so many, without the `at` newest."""

    def count(self, workflow: int | None) -> int: ...

    def cancel_notes(self, jobs: Collection[int]) -> dict[int, str]: ...  # by job: the note of its last cancel
