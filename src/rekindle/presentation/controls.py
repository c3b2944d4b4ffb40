"""What was held, released and canceled, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rekindle.presentation import attempts, words

if TYPE_CHECKING:
    from rekindle.engine.results import CancelResult, HoldResult


def held(done: HoldResult) -> Iterator[str]:
    """Yield `3 jobs held: 1-3`, and how many were held already."""
    yield from _groups((done.changed, "held"), (done.already, "already held"))


def released(done: HoldResult) -> Iterator[str]:
    """Yield `3 jobs released: 1-3`, and how many were not held."""
    yield from _groups((done.changed, "released"), (done.already, "not held"))


def canceled(done: CancelResult) -> Iterator[str]:
    """Yield what cancelling did to the jobs."""
    yield from _groups(
        (done.now, "canceled before starting"),
        (done.over, "stopped while running"),
        ([job for job in done.asked if job not in done.over], "running, being ended"),
        (done.ended, "already ended"),
        (done.left_out, "no longer waiting for canaries"),
    )


def _groups(*groups: tuple[Sequence[int], str]) -> Iterator[str]:
    if not any(jobs for jobs, _ in groups):
        yield "nothing selected"
    for jobs, what in groups:
        if jobs:
            yield f"{words.plural(len(jobs), 'job')} {what}: {words.cut(attempts.id_ranges(jobs), 40)}"
