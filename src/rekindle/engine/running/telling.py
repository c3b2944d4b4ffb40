"""How far a run is: told a few times a second to whoever wants to show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rekindle.domain.states import State
from rekindle.engine.results import Progress
from rekindle.engine.running.bench import Bench
from rekindle.engine.running.tally import Tally
from rekindle.engine.session import Session
from rekindle.store.port import Archive

TELL_SECONDS = 0.2
"""How often a runner tells how far it is."""


class Telling:
    """Tells `tell` how a run of one workflow, or of all, stands."""

    def __init__(self, session: Session, workflow: int | None, tell: Callable[[Progress], None]) -> None:
        self._session, self._workflow, self._tell = session, workflow, tell
        self._began = self._told_at = time.monotonic()

    @property
    def due(self) -> float:
        """When to tell again (monotonic)."""
        return self._told_at + TELL_SECONDS

    def tell(self, tally: Tally, benches: Iterable[Bench], *, delayed: bool) -> None:
        """Tell, if it is due. `delayed`: some jobs wait for their time."""
        now = time.monotonic()
        if now < self.due:
            return
        self._told_at = now
        with self._session.store.read() as archive:
            counts = counts_of(archive, self._workflow)
            waiting = archive.queue.delayed(self._session.clock()) if delayed else {}
        running = tuple(next(iter(bench.flights.values())).name for bench in benches if bench.flights)
        mine = {self._workflow} if self._workflow is not None else waiting.keys()
        ended = tally.completed + tally.failures + tally.cancels + tally.retried
        later = sum(n for workflow, n in waiting.items() if workflow in mine)
        seconds = now - self._began
        self._tell(Progress(counts, running, ended, tally.failures, seconds, tally.reinstated, tally.retried, later))


def counts_of(archive: Archive, workflow: int | None) -> dict[State, int]:
    """How many jobs are in which state, of a workflow or of all that are not archived."""
    found = [archive.workflows.find(workflow)] if workflow is not None else archive.workflows.listing()
    counts: dict[State, int] = {}
    for one in found:
        for state, n in (one.counts if one else {}).items():
            counts[state] = counts.get(state, 0) + n
    return counts
