"""What was held, released, canceled and completed by hand, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rekindle.presentation import attempts, words

if TYPE_CHECKING:
    from rekindle.engine.rerun.complete import CompletedByHand
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


def completed(done: CompletedByHand) -> Iterator[str]:
    """Yield `rerun 4 is recorded: 2 jobs completed by hand; 3 ready`, and how many had completed."""
    already = f"{words.plural(len(done.completed), 'job')} completed already"
    if done.rerun is None:
        yield f"{already}: nothing is recorded" if done.completed else "nothing selected"
        return
    ready = f"; {done.ready:,} ready" if done.ready else ""
    ready += "; no runner is alive: rekindle work" if done.ready and not done.runner_alive else ""
    yield f"rerun {done.rerun} is recorded: {words.plural(len(done.plan.jobs), 'job')} completed by hand{ready}"
    if done.completed:
        yield already


def _groups(*groups: tuple[Sequence[int], str]) -> Iterator[str]:
    if not any(jobs for jobs, _ in groups):
        yield "nothing selected"
    for jobs, what in groups:
        if jobs:
            yield f"{words.plural(len(jobs), 'job')} {what}: {words.cut(attempts.id_ranges(jobs), 40)}"
