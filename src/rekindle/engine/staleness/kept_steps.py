"""The steps and subtasks that attempts keep, and the attempts in which these ran."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import MeasuredAttempt
from rekindle.domain.changes.kept_steps import only_steps

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate
    from rekindle.engine.staleness.needs import AcceptedBases
    from rekindle.store.archive import Snapshot


class KeptPart(msgspec.Struct, frozen=True):
    """The steps that an attempt keeps from one earlier attempt, by name. `subtasks`: fan-outs that ran only in part
    there. `ran`: the earlier attempt, beside the job of the one that keeps them."""

    ran: MeasuredAttempt
    steps: frozenset[str]
    subtasks: frozenset[str]

    def of(self, template: JobTemplate) -> JobTemplate:
        """Return the part of a definition that applies to these steps."""
        return only_steps(template, self.steps, self.subtasks)


class KeptSteps(msgspec.Struct, frozen=True):
    """What an attempt keeps. `whole`: the steps that did not run in the attempt itself at all."""

    parts: tuple[KeptPart, ...] = ()
    whole: frozenset[str] = frozenset()


NO_KEPT_STEPS = KeptSteps()

NOTHING_KEPT: Mapping[int, KeptSteps] = {}


def find_kept_steps(
    archive: Snapshot, subjects: Sequence[MeasuredAttempt], accepted: AcceptedBases
) -> dict[int, KeptSteps]:
    """Return, by attempt, the steps that it keeps, unless its present state was accepted."""
    keeping = {one.attempt: one for one in subjects if one.builds_on is not None and one.attempt not in accepted}
    if not keeping:
        return {}
    rows = archive.subtasks.ran_in(keeping)
    ran = _RanIn(archive, keeping.values(), [source for _, _, source, _ in rows])
    templates = archive.staleness.templates({one.template for one in keeping.values()})
    names: dict[tuple[int, int], set[str]] = {}  # by (attempt, the one in which they ran)
    partly: dict[tuple[int, int], set[str]] = {}
    whole: dict[int, set[str]] = {}
    for attempt, position, source, subtasks in rows:
        one, steps = keeping[attempt], templates[keeping[attempt].template].steps
        if position >= len(steps):
            continue
        key, name = (attempt, ran.source(one, source)), steps[position].name
        names.setdefault(key, set()).add(name)
        if subtasks:
            partly.setdefault(key, set()).add(name)
        else:
            whole.setdefault(attempt, set()).add(name)
    found: dict[int, list[KeptPart]] = {}
    for (attempt, source), chosen in names.items():
        some = frozenset(partly.get((attempt, source), ()))
        part = KeptPart(ran.beside(keeping[attempt], source), frozenset(chosen), some)
        found.setdefault(attempt, []).append(part)
    return {attempt: KeptSteps(tuple(parts), frozenset(whole.get(attempt, ()))) for attempt, parts in found.items()}


class _RanIn:
    """The attempts in which kept steps ran, and those that lead to them."""

    def __init__(self, archive: Snapshot, keeping: Collection[MeasuredAttempt], sources: Sequence[int]) -> None:
        self._known: dict[int, MeasuredAttempt] = {}
        wanted = {*sources, *(one.builds_on for one in keeping if one.builds_on is not None)}
        while wanted:
            self._known |= {one.attempt: one for one in archive.staleness.subjects(wanted)}
            wanted = {one.builds_on for one in self._known.values() if one.builds_on is not None} - self._known.keys()

    def source(self, one: MeasuredAttempt, source: int) -> int:
        """Return the attempt whose definition, needs and fingerprints count for steps of `source`: of another job, it
        was reused by an attempt of this job, to which it was equal then. It may be deleted."""
        first = one
        while first.builds_on is not None:
            first = self._known[first.builds_on]
        known = self._known.get(source)
        return source if known is not None and known.job == first.job else first.attempt

    def beside(self, one: MeasuredAttempt, source: int) -> MeasuredAttempt:
        """Return an earlier attempt beside the job that an attempt is compared with."""
        ran = self._known[source]
        return replace(
            one,
            attempt=ran.attempt,
            state=ran.state,
            template=ran.template,
            revision=ran.revision,
            binding=ran.binding,
            overrides=ran.overrides,
            code=ran.code,
            folder=ran.folder,
            queued=ran.queued,
            made_in=ran.made_in,
            builds_on=ran.builds_on,
        )
