"""The jobs that a user has picked on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.rerun.request import How, how_to_json
from rekindle.domain.selection import AllOf, Compare, Not, Op, Selection
from rekindle.query.selections import SelectionFlags, parse_selection

if TYPE_CHECKING:
    from rekindle.engine.plan_inputs import ChosenRequests


class PickedJobs(msgspec.Struct, frozen=True):
    """Jobs by id; or, with `matching`, all jobs of a filter without those of `ids`. A filter is evaluated when the jobs
    are rerun, so 100,000 jobs are not 100,000 ids."""

    ids: frozenset[int] = frozenset()
    matching: Selection | None = None
    asked: Mapping[str, Any] = msgspec.field(default_factory=dict)  # the filter's flags

    def __contains__(self, job: int) -> bool:
        """Return whether a job that the screen shows is picked. It shows jobs of the filter only."""
        return (job in self.ids) is (self.matching is None)

    def __bool__(self) -> bool:
        return bool(self.ids) or self.matching is not None

    def toggled(self, job: int) -> PickedJobs:
        """Return the picked jobs with a job added, or removed."""
        return replace(self, ids=self.ids ^ {job})

    def added(self, *jobs: int) -> PickedJobs:
        """Return the picked jobs with jobs added."""
        return replace(self, ids=self.ids.union(jobs) if self.matching is None else self.ids.difference(jobs))

    @classmethod
    def all_of(cls, flags: SelectionFlags, workflow: str | None, clock: Callable[[], float]) -> PickedJobs:
        """Return all jobs of a filter, which is restricted to a workflow unless it names one. Without any flag, all
        jobs."""
        if flags.workflow is None and workflow is not None:
            flags = replace(flags, workflow=workflow)
        if parse_selection(flags, clock).empty:
            flags = replace(flags, everything=True)
        return cls(matching=parse_selection(flags, clock), asked=flags.typed())

    @property
    def selection(self) -> Selection:
        """The picked jobs as a selection."""
        if self.matching is None:
            return Selection(jobs=tuple(sorted(self.ids)))
        if not self.ids:
            return self.matching
        without = Not(Compare("id", Op.IN, tuple(sorted(self.ids))))
        return replace(self.matching, where=AllOf((self.matching.where, without)))

    def requests(self, how: How) -> ChosenRequests:
        """Return the request to rerun the picked jobs."""
        return [(self.selection if self.matching is not None else sorted(self.ids), how)]

    def recorded(self, how: How) -> dict[str, Any]:
        """Return the request as it is recorded with the rerun."""
        ids = sorted(self.ids)
        if self.matching is None:
            return {"selection": {"jobs": [str(job) for job in ids]}, "how": how_to_json(how)}
        return {"selection": {**self.asked, **({"without": ids} if ids else {})}, "how": how_to_json(how)}
