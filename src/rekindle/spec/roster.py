"""All jobs of a spec by name, and the edges among them while they are gathered."""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rekindle.domain.definition import JobNode
from rekindle.domain.texts.globs import name_matcher
from rekindle.domain.texts.jobnames import composed, value_label
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.substitution import render
from rekindle.spec.entries import Draft
from rekindle.spec.matrix import check_names
from rekindle.spec.problems import Place, Problems

MOST_EDGES = 5_000_000


class Roster:
    """The jobs of all entries, those of one entry side by side."""

    def __init__(
        self, drafts: Sequence[Draft], unknown: Collection[str], params: Mapping[str, Any], problems: Problems
    ) -> None:
        """`unknown`: names of entries in which so much is wrong that their jobs are not known."""
        self.drafts = drafts
        self._unknown = unknown
        self.params = params
        self.jobs: list[JobNode] = []
        self.spans: list[range] = []
        """For each entry, the positions of its jobs."""
        self._entries: dict[str, range] = {}
        for position, draft in enumerate(drafts):
            start, name = len(self.jobs), draft.template.name
            self.jobs += [JobNode(job, position, binding) for job, binding in draft.expansion.jobs(name)]
            span = range(start, len(self.jobs))
            check_names(name, draft.place, [self.jobs[job].name for job in span], problems)
            self.spans.append(span)
            self._entries[name] = span
        self._instances = {job.name: position for position, job in enumerate(self.jobs)}
        self._sorted: list[str] = []

    def scope(self, job: int) -> dict[str, Any]:
        """What the paths and needs of a job can name."""
        node = self.jobs[job]
        return {"params": self.params, "matrix": node.binding, "job": {"name": node.name}}

    def need(self, text: str, job: int) -> str:
        """Return the name or glob that `text` is for a job. Within brackets a matrix value is written as in names:
        `cut[flags=${matrix.flags}]` is `cut[flags="a,b"]` where that is a job."""
        scope = self.scope(job)
        name = composed(render(text, scope))
        if self.named(name) is not None:
            return name
        labels = {key: value_label(value) for key, value in self.jobs[job].binding.items()}
        labelled = render(text, {**scope, "matrix": labels})
        return labelled if self.named(labelled) is not None else name

    def named(self, name: str) -> range | None:
        """The jobs of an entry, or the one job of that name; None: there is none."""
        if name in self._entries:
            return self._entries[name]
        found = self._instances.get(name)
        return None if found is None else range(found, found + 1)

    def matching(self, pattern: str) -> list[int]:
        """The jobs whose name, or whose entry's name, a glob matches: only `*` and `?` are special."""
        if not self._sorted:
            self._sorted = sorted({*self._instances, *self._entries})
        prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
        start = bisect.bisect_left(self._sorted, prefix)
        matches = name_matcher(pattern).fullmatch
        found: set[int] = set()
        for name in self._sorted[start:]:
            if not name.startswith(prefix):
                break
            if matches(name):
                found.update(self.named(name) or ())
        return sorted(found)

    def may_be(self, name: str) -> bool:
        """Whether a name or glob that means nothing could mean jobs that are not known."""
        if "*" in name or "?" in name:
            return bool(self._unknown)
        return name.partition("[")[0] in self._unknown

    def nearest(self, name: str) -> str:
        """A hint at a known name."""
        entry = name.partition("[")[0]
        if "[" in name and entry in self._entries:
            return did_you_mean(name, [self.jobs[job].name for job in self._entries[entry]])
        return did_you_mean(name, [*self._entries, *self._unknown])


class Edges:
    """(parent, child) pairs without doubles, and where in the spec each pair of entries is joined."""

    def __init__(self, roster: Roster, problems: Problems) -> None:
        self._roster = roster
        self._problems = problems
        self._pairs: dict[tuple[int, int], None] = {}
        self._places: dict[tuple[int, int], Place] = {}
        self._full = False

    def add(self, parents: Sequence[int], children: Sequence[int], place: Place) -> None:
        """Every child needs every parent. More than can be held are refused once."""
        if self._full or not children:
            return
        if len(self._pairs) + len(parents) * len(children) > MOST_EDGES:
            self._full = True
            self._problems.add(
                place,
                f"more than {MOST_EDGES:,} edges: {len(parents):,} jobs are needed by each of {len(children):,}",
                "let one job stand between them: it needs the ones, and the others need it",
            )
            return
        self._pairs.update(dict.fromkeys((parent, child) for parent in parents for child in children))
        jobs = self._roster.jobs
        entries = dict.fromkeys(jobs[parent].template for parent in parents)
        for entry in entries:
            self._places.setdefault((entry, jobs[children[0]].template), place)

    def pairs(self) -> list[tuple[int, int]]:
        """All of them, in the order they were added."""
        return list(self._pairs)

    def place(self, parent: int, child: int) -> Place:
        """Where it is said that a job needs another."""
        jobs = self._roster.jobs
        return self._places.get((jobs[parent].template, jobs[child].template), Place())
