"""What dead runners have left behind, while any of it still runs or is unread: read on, and settled when it is done."""

from __future__ import annotations

from collections.abc import Iterable

from rekindle.domain.models import Runner
from rekindle.engine.ingest import Page
from rekindle.engine.recovery import Estate, pages, settle, take_over_dead
from rekindle.store.port import Archive


class Estates:
    """Those that this runner has taken over."""

    def __init__(self, store_folder: str) -> None:
        self._store_folder = store_folder
        self._left: list[Estate] = []

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def ripe(self) -> bool:
        """Some of it can be settled."""
        return any(all(orphan.gone for orphan in estate.orphans) for estate in self._left)

    def take_over(self, archive: Archive, dead: Iterable[Runner], keeper: int | None) -> None:
        """Those of these runners that nobody else has taken over; `keeper` is the runner that does."""
        self._left += take_over_dead(archive, dead, keeper, self._store_folder)

    def gather(self) -> list[Page]:
        """What their workers have journalled since it was read last."""
        return [page for estate in self._left for page in pages(estate.orphans)]

    def advance(self, gathered: Iterable[Page]) -> None:
        """These pages are in the store: read on behind them."""
        orphans = {orphan.worker: orphan for estate in self._left for orphan in estate.orphans}
        for page in gathered:
            if page.worker in orphans:
                orphans[page.worker].position = page.position

    def settle(self, archive: Archive, now: float) -> int:
        """Close what is done with; returns how many lost attempts run again."""
        recovered = 0
        for estate in list(self._left):
            if all(orphan.gone for orphan in estate.orphans) and not pages(estate.orphans):
                recovered += len(settle(archive, estate, now))
                self._left.remove(estate)
        return recovered
