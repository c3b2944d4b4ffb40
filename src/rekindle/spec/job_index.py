"""Index all jobs of a spec by name, and collect the edges among them."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.definition import JobNode, normalize_name, value_label
from rekindle.domain.expansion import ExpandedJobs, MatrixJobs
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.patterns import compile_name_glob
from rekindle.domain.texts.substitution import find_references, render_text
from rekindle.spec.matrix import check_names
from rekindle.spec.nodes import PlacedText, Problems, SourcePlace

if TYPE_CHECKING:
    from rekindle.spec.job_entries import JobDraft

MAX_EDGES = 5_000_000

_PARENT = 1 << 32


class JobIndex:
    """The jobs of all entries. The jobs of one entry have consecutive positions."""

    def __init__(
        self, drafts: Sequence[JobDraft], unknown: Collection[str], params: Mapping[str, Any], problems: Problems
    ) -> None:
        """`unknown` holds the names of invalid entries, whose jobs are not known."""
        self.drafts = drafts
        self._unknown = unknown
        self.params = params
        self.jobs = ExpandedJobs()
        self.spans: list[range] = []
        """For each entry, the positions of its jobs."""
        self._of_entry: list[MatrixJobs | list[JobNode]] = []
        self._entries: dict[str, int] = {}
        self._names: dict[int, dict[str, int]] = {}  # by entry: the positions of its listed jobs, by name
        for position, draft in enumerate(drafts):
            name = draft.template.name
            jobs = draft.expansion.jobs(name, position)
            check_names(name, draft.place, jobs, problems)
            self.spans.append(self.jobs.add(jobs))
            self._of_entry.append(jobs)
            self._entries[name] = position
        self._sorted: list[str] = []

    def entry_at(self, job: int) -> int:
        """Return the entry of a job."""
        return bisect.bisect_right(self.spans, job, key=lambda span: span.start) - 1

    def of_entry(self, entry: int) -> Iterator[tuple[int, JobNode]]:
        """Yield the position of each job of an entry, and the job."""
        return zip(self.spans[entry], self._of_entry[entry], strict=True)

    def scope(self, node: JobNode) -> dict[str, Any]:
        """Return the values that paths and needs of a job can refer to."""
        return {"params": self.params, "matrix": node.binding, "job": {"name": node.name}}

    def need(self, text: str, node: JobNode) -> str:
        """Render a `needs` text for one job, as a name or glob.

        Within brackets a matrix value is written as in job names: `cut[flags=${matrix.flags}]` becomes
        `cut[flags="a,b"]` if that job exists.
        """
        scope = self.scope(node)
        name = normalize_name(render_text(text, scope))
        if self.named(name) is not None:
            return name
        labels = {key: value_label(value) for key, value in node.binding.items()}
        labelled = render_text(text, {**scope, "matrix": labels})
        return labelled if self.named(labelled) is not None else name

    def named(self, name: str) -> range | None:
        """Return the jobs of an entry, or the one job of that name; None if there is none."""
        entry = self._entries.get(name)
        if entry is not None:
            return self.spans[entry]
        entry = self._entries.get(name.partition("[")[0])
        if entry is None:
            return None
        jobs = self._of_entry[entry]
        if isinstance(jobs, MatrixJobs):
            found = jobs.position(name)
        else:
            if entry not in self._names:
                self._names[entry] = {job.name: at for at, job in enumerate(jobs)}
            found = self._names[entry].get(name)
        return None if found is None else self.spans[entry][found : found + 1]

    def matching(self, pattern: str) -> list[int]:
        """Return the jobs whose name or entry name a glob matches. Only `*` and `?` are special."""
        if not self._sorted:
            self._sorted = sorted(self._entries)
        prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
        start = bisect.bisect_left(self._sorted, prefix)
        matches = compile_name_glob(pattern).fullmatch
        found: set[int] = set()
        within = prefix.partition("[")[0] if "[" in prefix else None
        for name in [within] if within in self._entries else self._sorted[start:] if within is None else ():
            if within is None and not name.startswith(prefix):
                break
            entry = self._entries[name]
            if matches(name):
                found.update(self.spans[entry])
            else:
                found.update(at for at, job in self.of_entry(entry) if matches(job.name))
        return sorted(found)

    def may_mean_unknown_job(self, name: str) -> bool:
        """Return whether a name or glob without a match could match jobs of an invalid entry."""
        if "*" in name or "?" in name:
            return bool(self._unknown)
        return name.partition("[")[0] in self._unknown

    def nearest(self, name: str) -> str:
        """Return a hint that suggests a known name."""
        entry = name.partition("[")[0]
        if "[" in name and entry in self._entries:
            return did_you_mean(name, [job.name for _, job in self.of_entry(self._entries[entry])])
        return did_you_mean(name, [*self._entries, *self._unknown])


class EdgeSet:
    """Distinct (parent, child) pairs, and the place in the spec that joins each pair of entries."""

    def __init__(self, job_index: JobIndex, problems: Problems) -> None:
        self._job_index = job_index
        self._problems = problems
        self._pairs: dict[int, None] = {}  # parent * _PARENT + child: one number takes less memory than a tuple
        self._places: dict[tuple[int, int], SourcePlace] = {}
        self._overflowed = False

    def add(self, parents: Sequence[int], children: Sequence[int], place: SourcePlace) -> None:
        """Make every child need every parent. Report once if there are more than MAX_EDGES."""
        if self._overflowed or not children:
            return
        if len(self._pairs) + len(parents) * len(children) > MAX_EDGES:
            self._overflowed = True
            self._problems.add(
                place,
                f"more than {MAX_EDGES:,} edges: {len(parents):,} jobs are needed by each of {len(children):,}",
                "put one job between them: it needs the first ones, and the others need it",
            )
            return
        self._pairs.update(dict.fromkeys(parent * _PARENT + child for parent in parents for child in children))
        to = self._job_index.entry_at(children[0])
        if isinstance(parents, range):  # the jobs of one entry
            self._places.setdefault((self._job_index.entry_at(parents[0]), to), place)
            return
        for entry in dict.fromkeys(map(self._job_index.entry_at, parents)):
            self._places.setdefault((entry, to), place)

    def pairs(self) -> list[tuple[int, int]]:
        """Return all pairs in the order in which they were added."""
        return [divmod(pair, _PARENT) for pair in self._pairs]

    def place(self, parent: int, child: int) -> SourcePlace:
        """Return the place in the spec where the child needs the parent."""
        entries = self._job_index.entry_at(parent), self._job_index.entry_at(child)
        return self._places.get(entries, SourcePlace())


class NeedEdges:
    """Adds edges from `needs:`: names, globs, and texts with `${…}` that differ from job to job."""

    def __init__(self, job_index: JobIndex, edges: EdgeSet, problems: Problems) -> None:
        self._job_index = job_index
        self._edges = edges
        self._problems = problems
        self._parents_by_name: dict[tuple[int, str], Sequence[int]] = {}

    def add_edges(self) -> None:
        """Add an edge for each need. Report needs that match no job."""
        for entry, draft in enumerate(self._job_index.drafts):
            for need in draft.needs:
                if find_references(need.text):
                    self._add_per_job(entry, need)
                else:
                    self._add_shared(entry, need)

    def _add_shared(self, entry: int, need: PlacedText) -> None:
        """Add edges for a name or glob that is the same for all jobs of the entry."""
        parents, children = self._find_parents(entry, need.text), self._job_index.spans[entry]
        wrong = self._problem_with(entry, need.text, parents, children)
        if wrong:
            self._problems.add(need.place, *wrong)
        else:
            self._edges.add(parents, children, need.place)

    def _add_per_job(self, entry: int, need: PlacedText) -> None:
        """Add edges for a text that differs from job to job. Report the first problem and the number of others."""
        first: tuple[str, str] | None = None
        failed = 0
        own = self._job_index.spans[entry]
        for name, children in self._named_needs(entry, need.text):
            parents = self._find_parents(entry, name)
            alike = not parents or parents[0] not in own  # else each child may be the one that needs itself
            for some in [children] if alike else [children[at : at + 1] for at in range(len(children))]:
                wrong = self._problem_with(entry, name, parents, some)
                if wrong:
                    failed += len(some)
                    first = first or wrong
                else:
                    self._edges.add(parents, some, need.place)
        if first:
            message, hint = first
            others = f" (and so for {failed - 1:,} more jobs)" if failed > 1 else ""
            self._problems.add(need.place, message + others, hint)

    def _named_needs(self, entry: int, text: str) -> Iterator[tuple[str, range]]:
        """Yield what a `needs` text names, with the jobs of the entry for which it names this; it is rendered once for
        consecutive jobs that have the same values."""
        used = find_references(text)
        keys = [one.path[0] for one in used if one.scope == "matrix"]
        alike = all(one.scope in ("matrix", "params") for one in used)

        def values(each: tuple[int, JobNode]) -> tuple[Any, ...]:
            position, node = each
            found = [node.binding.get(key) for key in keys] if alike else [position]
            return *found, *map(type, found)  # 1, 1.0 and true are equal, and look different

        for _, run in itertools.groupby(self._job_index.of_entry(entry), values):
            jobs = list(run)
            yield self._job_index.need(text, jobs[0][1]), range(jobs[0][0], jobs[-1][0] + 1)

    def _find_parents(self, entry: int, name: str) -> Sequence[int]:
        """Return the jobs that `name` matches. A glob does not match the entry's own jobs."""
        known = self._parents_by_name.get((entry, name))
        if known is not None:
            return known
        found: Sequence[int] | None = self._job_index.named(name)
        if found is None:
            own = self._job_index.spans[entry]
            found = [job for job in self._job_index.matching(name) if job not in own] if _is_glob(name) else ()
        self._parents_by_name[entry, name] = found
        return found

    def _problem_with(
        self, entry: int, name: str, parents: Sequence[int], children: Sequence[int]
    ) -> tuple[str, str] | None:
        """Return message and hint if `name` matches no job, or one of `children` itself."""
        if not parents:
            if self._job_index.may_mean_unknown_job(name):
                return None
            if _is_glob(name):
                return f"no other job matches {name!r}", "only * and ? are special; a job does not match its own globs"
            return f"there is no job {name!r}", self._job_index.nearest(name)
        own = self._job_index.spans[entry]
        if parents[0] not in own or not any(child in parents for child in children):
            return None
        if len(own) > 1 and len(parents) > 1:
            hint = "jobs of one matrix can need one another by their full names: train[alpha=0.1]"
        else:
            hint = "take it out"
        return f"the job {self._job_index.drafts[entry].template.name!r} needs itself", hint


def _is_glob(name: str) -> bool:
    return "*" in name or "?" in name
