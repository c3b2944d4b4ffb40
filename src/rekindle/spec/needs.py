"""Edges from `needs:`: names, globs, and names with `${…}` that differ from job to job."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.texts.substitution import references
from rekindle.spec.problems import Placed, Problems
from rekindle.spec.roster import Edges, Roster


class Needs:
    """Follows what each entry needs into the roster."""

    def __init__(self, roster: Roster, edges: Edges, problems: Problems) -> None:
        self._roster = roster
        self._edges = edges
        self._problems = problems
        self._found: dict[tuple[int, str], Sequence[int]] = {}

    def follow(self) -> None:
        """Add an edge for everything that is needed; tell what is not there."""
        for entry, draft in enumerate(self._roster.drafts):
            for need in draft.needs:
                if references(need.text):
                    self._each(entry, need)
                else:
                    self._same(entry, need)

    def _same(self, entry: int, need: Placed) -> None:
        """A name or glob that is the same for all jobs of an entry."""
        parents, children = self._parents(entry, need.text), self._roster.spans[entry]
        wrong = self._wrong(entry, need.text, parents, children)
        if wrong:
            self._problems.add(need.place, *wrong)
        else:
            self._edges.add(parents, children, need.place)

    def _each(self, entry: int, need: Placed) -> None:
        """A name or glob for each job; of those that are wrong, the first is told, and how many there are."""
        first: tuple[str, str] | None = None
        failed = 0
        for child in self._roster.spans[entry]:
            name = self._roster.need(need.text, child)
            parents = self._parents(entry, name)
            wrong = self._wrong(entry, name, parents, (child,))
            if wrong:
                failed += 1
                first = first or wrong
            else:
                self._edges.add(parents, (child,), need.place)
        if first:
            message, hint = first
            others = f" (and so for {failed - 1:,} more jobs)" if failed > 1 else ""
            self._problems.add(need.place, message + others, hint)

    def _parents(self, entry: int, name: str) -> Sequence[int]:
        """The jobs that `name` means for the jobs of `entry`; a glob means none of the entry's own."""
        known = self._found.get((entry, name))
        if known is not None:
            return known
        found: Sequence[int] | None = self._roster.named(name)
        if found is None:
            own = self._roster.spans[entry]
            found = [job for job in self._roster.matching(name) if job not in own] if _is_glob(name) else ()
        self._found[entry, name] = found
        return found

    def _wrong(self, entry: int, name: str, parents: Sequence[int], children: Sequence[int]) -> tuple[str, str] | None:
        """Message and hint, when `name` means nothing, or one of `children` itself."""
        if not parents:
            if self._roster.may_be(name):
                return None
            if _is_glob(name):
                return f"no other job matches {name!r}", "only * and ? are special; a job does not match its own globs"
            return f"there is no job {name!r}", self._roster.nearest(name)
        own = self._roster.spans[entry]
        if parents[0] not in own or not any(child in parents for child in children):
            return None
        if len(own) > 1 and len(parents) > 1:
            hint = "jobs of one matrix can need one another by their full names: train[alpha=0.1]"
        else:
            hint = "take it out"
        return f"the job {self._roster.drafts[entry].template.name!r} needs itself", hint


def _is_glob(name: str) -> bool:
    return "*" in name or "?" in name
