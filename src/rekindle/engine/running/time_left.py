"""The time that a runner has until its allocation ends: which jobs it may start, and when it ends those that run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.texts.quantities import format_duration

if TYPE_CHECKING:
    from rekindle.domain.definition import Resources
    from rekindle.domain.models import ReadyJob
    from rekindle.domain.packing import Capacity
    from rekindle.engine.allocation import Allocation
    from rekindle.store.archive import Snapshot


class TimeLeft:
    """The time until the grace period before the end of an allocation begins. None: there is no allocation."""

    def __init__(self, allocation: Allocation | None) -> None:
        self.name = "" if allocation is None else allocation.name
        self.ended: float | None = None  # when running attempts were canceled (seconds since the epoch)
        until = None if allocation is None else allocation.until
        self.due = math.inf if allocation is None or until is None else until - allocation.grace
        """When running attempts must end (monotonic)."""
        self._durations: dict[int, float] = {}  # by template: how long earlier attempts took; 0: unknown

    @property
    def seconds(self) -> float | None:
        """Return the seconds left, or None if there is no end."""
        return None if self.due == math.inf else max(0.0, self.due - time.monotonic())

    def limit(self, capacity: Capacity) -> Capacity:
        """Return the capacity with the time left."""
        return replace(capacity, seconds=self.seconds)

    def suffices(self, asked: Resources) -> bool:
        """Return whether an attempt with these resources can end in time."""
        return self.seconds is None or asked.time is None or asked.time <= self.seconds

    def too_long(self, archive: Snapshot, jobs: Sequence[ReadyJob]) -> Mapping[int, str]:
        """Return the templates of jobs without a time limit whose earlier attempts took longer than the time left,
        each with the reason. A template without completed attempts is not among them."""
        left = self.seconds or 0.0
        resources = archive.jobs.resources({job.resource_class for job in jobs})
        templates = {job.template for job in jobs if resources[job.resource_class].time is None}
        if unknown := templates - self._durations.keys():
            found = archive.statistics.durations_of_templates(unknown)
            self._durations.update({one: found.get(one, 0.0) for one in unknown})
        return {
            one: f"earlier attempts took {format_duration(self._durations[one])}, and {format_duration(left)} are left"
            for one in templates
            if self._durations[one] > left or left <= 0
        }
