"""What dead runners have left behind, in the care of one that lives: read on, and settled as soon as it can be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rekindle.domain.models import Attempt, Runner
from rekindle.domain.states import State
from rekindle.engine.results import Inherited
from rekindle.engine.running.ingest import Page, Told
from rekindle.engine.running.orphans import Orphan
from rekindle.engine.running.recovery import Estate, is_held, settle, take_over_dead
from rekindle.journal.records import Returned
from rekindle.store.port import Archive

READ_SECONDS = 1.0
"""How often the journals are read of those that run on: amid a fan-out they tell of subtasks."""

SOON_SECONDS = 0.02
"""After so long it is seen whether what was killed has ended."""


@dataclass(slots=True)
class Found:
    """What was found of the attempts that dead runners had left."""

    adopted: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)  # jobs: those that run again of the lost
    reruns: list[int] = field(default_factory=list)
    unstarted: set[int] = field(default_factory=set)

    def counts(self) -> Inherited:
        """In numbers."""
        every = self.adopted | self.finished | self.lost | self.unstarted
        kinds = (self.adopted, self.finished, self.lost, self.again, self.unstarted)
        return Inherited(len(every), *(len(one) for one in kinds))


class Estates:
    """Those that somebody has taken over."""

    def __init__(self, store_folder: str) -> None:
        self._store_folder = store_folder
        self._left: list[Estate] = []
        self._returned: set[str] = set()  # tokens, as the journals have told since the last time
        self._fresh = self._read = False
        self._looked = self._settled = 0.0  # monotonic
        self.found = Found()

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def ripe(self) -> bool:
        """Some of it can be settled."""
        if self._fresh or self._read or any(estate.ripe for estate in self._left):
            return True
        clinging = any(estate.clinging for estate in self._left)
        return clinging and time.monotonic() >= self._settled + self._every

    @property
    def hurried(self) -> bool:
        """What was killed, or is to be, has not ended yet: it is a matter of moments."""
        stuck = self.stuck()
        killed = any(number not in stuck for estate in self._left for number in estate.clinging)
        return killed or any(orphan.gone and not _is_stuck(orphan) for orphan in self.orphans())

    @property
    def due(self) -> float:
        """When it is to be looked at again, at the latest (monotonic)."""
        return self._looked + self._every

    @property
    def handles(self) -> tuple[int, ...]:
        """Descriptors that become readable when one of the workers has gone."""
        return tuple(orphan.handle for orphan in self.orphans() if orphan.handle >= 0)

    @property
    def goes_on(self) -> bool:
        """Something of it will end by itself."""
        stuck = self.stuck()
        return self._fresh or any(estate.active.keys() - stuck.keys() for estate in self._left)

    def stuck(self) -> dict[int, tuple[Attempt, tuple[int, ...]]]:
        """Attempts that wait for processes that cannot be ended, with these; by id."""
        return {
            number: (estate.active[number], pids)
            for estate in self._left
            for number, pids in estate.stuck().items()
            if number in estate.active
        }

    def orphans(self) -> Sequence[Orphan]:
        """Their workers that are not done with."""
        return [orphan for estate in self._left for orphan in estate.orphans]

    def take_over(self, archive: Archive, dead: Iterable[Runner], keeper: int | None) -> None:
        """Those of these runners, as far as nobody else has taken them over; `keeper` is the runner that does."""
        held = {estate.runner.id for estate in self._left}
        more = take_over_dead(archive, (one for one in dead if one.id not in held), keeper, self._store_folder)
        self._left += more
        self._fresh = self._fresh or bool(more)

    def gather(self) -> list[Page]:
        """What their workers have journalled since it was read last."""
        self._looked = time.monotonic()
        found = [page for orphan in self.orphans() if not orphan.told and (page := orphan.read_on()) is not None]
        for page in found:
            self._read = True
            self._returned.update(t for one in page.records if isinstance(one, Returned) for t in one.tokens)
        return found

    def advance(self, gathered: Iterable[Page]) -> None:
        """These pages are in the store: read on behind them."""
        orphans = {orphan.worker: orphan for orphan in self.orphans()}
        for page in gathered:
            if page.worker in orphans:
                orphans[page.worker].position = page.position

    def settle(self, archive: Archive, told: Told, now: float) -> list[tuple[int, State]]:
        """Close what is done with; what was gathered is ingested, and `told` says what it told. Returns how jobs have
        ended in it, but for those that run again by themselves."""
        ends = self._take_in(told)
        for estate in list(self._left) if self.ripe else []:
            if not is_held(archive, estate):
                self._drop(estate)
                continue
            done = settle(archive, estate, self._returned, now)
            self.found.adopted.update(done.adopted)
            self.found.unstarted.update(done.unstarted)
            self.found.lost |= done.lost.ended.keys()
            self.found.again |= done.lost.again
            self.found.reruns += [] if done.lost.rerun is None else [done.lost.rerun]
            ends += [end for end in done.lost.ended.values() if end[0] not in done.lost.again]
            if done.over:
                self._drop(estate)
        self._fresh = self._read = False
        self._settled = time.monotonic()
        self._returned.clear()
        return ends

    def cancel_wanted(self, archive: Archive) -> list[Attempt]:
        """Have the workers that run on cancel the attempts whose end was asked for. Return those attempts."""
        found = []
        for estate in self._left:
            wanted = {number for number, _ in archive.attempts.wanted_cancel(estate.runner.id)}
            mine = [estate.active[number] for number in wanted & estate.active.keys()]
            workers = {one.worker for one in mine}
            for orphan in estate.orphans:
                if orphan.worker in workers:
                    orphan.cancel()
            found += mine
        return found

    def close(self) -> None:
        """Look after them no more: the next one finds what is left."""
        for estate in list(self._left):
            self._drop(estate)

    def _take_in(self, told: Told) -> list[tuple[int, State]]:
        active = {number: one for estate in self._left for number, one in estate.active.items()}
        ends = []
        for number, state, _ in told.ended:
            one = active.get(number)
            if one is not None:
                if number not in self.found.adopted:
                    self.found.finished.add(number)
                if one.job not in told.again:
                    ends.append((one.job, state))
        return ends

    def _drop(self, estate: Estate) -> None:
        self._left.remove(estate)
        for orphan in estate.orphans:
            orphan.forget()

    @property
    def _every(self) -> float:
        return SOON_SECONDS if self.hurried else READ_SECONDS


def _is_stuck(orphan: Orphan) -> bool:
    return orphan.left is not None and orphan.left.stuck
