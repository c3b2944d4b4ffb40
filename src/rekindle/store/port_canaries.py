"""The part of the port that is about canaries: what waits for which jobs. See store.port and domain.canaries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from rekindle.domain.batches.canaries import Choice, Group, Outcome, Struck
from rekindle.domain.rerunning.rerun import How


class Canaries(Protocol):
    """Groups of which a part runs first. A job waits as long as the attempt that it had then is its live one: whatever
    resets it takes it out."""

    def struck(self, jobs: Collection[int]) -> list[Struck]:
        """Those of these jobs that have failed."""
        ...

    def begin(self, rerun: int, choices: Sequence[Choice]) -> None:
        """A rerun has reset the canaries; the rest waits, for these and no other ones any more. PlanOutdated, naming
        them, when jobs that should wait stand otherwise than was seen."""
        ...

    def open(self) -> list[Group]:
        """The groups of which nothing is decided, without telling how many wait: asked with every end that is told."""
        ...

    def waiting(self, group: int) -> tuple[list[int], How]:
        """The jobs of a group that wait, and how they are to run again."""
        ...

    def decide(self, group: int, outcome: Outcome, why: str, released: int | None, now: float) -> None:
        """What becomes of a group; `released` is the rerun of the rest."""
        ...

    def drop(self, rerun: int, now: float) -> None:
        """A rerun is undone: nothing waits for its canaries any more."""
        ...

    def leave(self, jobs: Collection[int]) -> None:
        """These jobs wait for no canary any more."""
        ...

    def of_rerun(self, rerun: int) -> list[Group]:
        """The groups whose canaries a rerun ran."""
        ...

    def of_workflow(self, workflow: int) -> list[Group]:
        """Those groups that are not decided, and those stopped of which jobs still stand as they stood."""
        ...

    def of_jobs(self, jobs: Collection[int]) -> dict[int, Group]:
        """By job, the group in which it waits, or would if that had not been stopped."""
        ...

    def decided(self, workflow: int | None, since: float) -> list[Group]:
        """The groups that were decided since, undone ones too."""
        ...
