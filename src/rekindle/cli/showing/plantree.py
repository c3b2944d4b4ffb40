"""A plan as a tree: what starts it, and below each job what follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rekindle.domain.rerunning.rerun import PlannedJob

FOLDED = 3
"""So many similar jobs next to each other are one line."""

_DEEPEST = 24
"""Columns of branches in front of a name; what is deeper hangs on an ellipsis."""

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Line:
    """Jobs that are alike, in a place of the tree. `again`: they stand further up already."""

    lead: str  # the branches in front of the name
    jobs: tuple[PlannedJob, ...]
    again: bool = False

    @property
    def name(self) -> str:
        """The job's name; of several the pattern that they share and how many they are."""
        first = self.jobs[0].name
        shown = first if len(self.jobs) == 1 else f"{_pattern(first)} ×{len(self.jobs):,}"
        return f"{self.lead}{shown}"


Looks = Callable[[PlannedJob], object]
"""What is shown of a job beside its name: jobs next to each other of which it is equal may be folded."""


def lines(jobs: Sequence[PlannedJob], children: Mapping[int, Sequence[int]], looks: Looks | None) -> Iterator[Line]:
    """Every job once, parents first; where it hangs on a second one too, that says so. `looks` None: nothing is
    folded."""
    planned = {job.id: job for job in jobs}
    below = {child for job in planned for child in children.get(job, ()) if child in planned}
    shown: set[int] = set()
    pending = [Line("", group) for group in _groups([job for job in jobs if job.id not in below], looks)][::-1]
    while pending:
        at = pending.pop()
        fresh = tuple(job for job in at.jobs if job.id not in shown)
        again = tuple(job for job in at.jobs if job.id in shown)
        if again:
            yield Line(at.lead, again, again=True)
        if not fresh:
            continue
        yield Line(at.lead, fresh)
        shown.update(job.id for job in fresh)
        under = dict.fromkeys(child for job in fresh for child in children.get(job.id, ()) if child in planned)
        groups = _groups([planned[child] for child in under if child not in shown], looks)
        groups += _groups([planned[child] for child in under if child in shown], _as_above)
        trunk = _trunk(at.lead)
        branches = [*["├─ "] * (len(groups) - 1), "└─ "]
        pending += [Line(trunk + branch, group) for branch, group in zip(branches, groups, strict=False)][::-1]


def _as_above(_: PlannedJob) -> object:
    """Of what stands further up, nothing is told again."""
    return None


def _trunk(lead: str) -> str:
    """What stands in front of the branches below a line."""
    trunk = lead.replace("├─ ", "│  ").replace("└─ ", "   ")
    return trunk if len(trunk) < _DEEPEST else f"…  {trunk[6:]}"


def _groups(jobs: Iterable[PlannedJob], looks: Looks | None) -> list[tuple[PlannedJob, ...]]:
    """Those that are alike together, where the first of them stands."""
    alike: dict[object, list[PlannedJob]] = {}
    for job in jobs:
        alike.setdefault(job.id if looks is None else (_pattern(job.name), looks(job)), []).append(job)
    found: list[tuple[PlannedJob, ...]] = []
    for group in alike.values():
        found += [tuple(group)] if len(group) >= FOLDED else [(job,) for job in group]
    return found


def _pattern(name: str) -> str:
    """`train[*]` for a job of a matrix, `part-*` for one of many that are numbered."""
    base, bracket, _ = name.partition("[")
    return f"{base}[*]" if bracket else _DIGITS.sub("*", name)
