"""The part of the port that is about how attempts have gone. See store.port."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from rekindle.domain.batches.flakiness import Failing, OnHost


@dataclass(frozen=True, slots=True)
class Tally:
    """How a job has gone, over all of its attempts, live and archived."""

    job: int
    passes: int
    failures: int
    lost: int  # attempts that were lost or canceled: they are neither
    modified: int  # attempts that a rerun had modified
    last: float | None  # when the newest pass or failure ended
    last_failure: float | None
    newest: int | None  # attempt that passed or failed


@dataclass(frozen=True, slots=True)
class Alike:
    """Attempts of a job that were made from the same rows and have recorded the same. Texts are JSON."""

    job: int
    workflow: int
    template: int
    revision: int
    binding: str
    overrides: str | None
    patched: str | None  # parameters that actions in force had changed
    code: str | None  # digest of modules
    partial: bool
    inputs: str | None  # as domain.prints.Prints has them
    env: str | None
    needed: str | None  # the attempts of jobs that it needs, by job
    passes: int
    failures: int
    first_failure: int | None  # attempt
    newest: int  # attempt
    newest_passed: bool


class Tries(Protocol):
    """How attempts have gone, live and archived alike. Those that were lost or canceled say nothing of their jobs."""

    def tallies(self, jobs: Collection[int]) -> dict[int, Tally]:
        """By job, for those that have an attempt that has ended."""
        ...

    def alike(self, jobs: Collection[int]) -> list[Alike]:
        """The attempts of these jobs that passed or failed, those together that were made alike."""
        ...

    def failing(self, jobs: Collection[int]) -> dict[int, list[Failing]]:
        """The ways in which these jobs have failed, the most frequent first."""
        ...

    def hosts(self, jobs: Collection[int]) -> dict[int, list[OnHost]]:
        """The hosts on which these jobs have run, those with most failures first."""
        ...
