"""A part of a workflow: from one of its entries on, as far as another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rekindle.domain.definition import Definition
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.graph import Edge, descendants
from rekindle.domain.texts.nearest import did_you_mean


def portion(definition: Definition, first: str | None = None, last: str | None = None) -> Definition:
    """The jobs of the entry `first` and what needs them, of these those of `last` and what they need; None: all.

    What a job that is left out would have made is expected to be there. NotFound names an entry that is not there;
    Refused when nothing of `first` leads to `last`."""
    kept = set(range(len(definition.jobs)))
    if first is not None:
        starts = _jobs_of(definition, first)
        kept &= starts | descendants(_adjacent(definition.edges), starts)
    if last is not None:
        ends = _jobs_of(definition, last)
        kept &= ends | descendants(_adjacent([(child, parent) for parent, child in definition.edges]), ends)
    if not kept:
        raise Refused(f"nothing of {definition.name} leads from {first} to {last}", hint="name the earlier one first")
    jobs = {job: position for position, job in enumerate(sorted(kept))}
    templates = {one: position for position, one in enumerate(sorted({definition.jobs[job].template for job in jobs}))}
    return replace(
        definition,
        templates=[definition.templates[one] for one in templates],
        jobs=[replace(definition.jobs[job], template=templates[definition.jobs[job].template]) for job in jobs],
        edges=[(jobs[parent], jobs[child]) for parent, child in definition.edges if parent in jobs and child in jobs],
    )


def _jobs_of(definition: Definition, name: str) -> set[int]:
    names = [template.name for template in definition.templates]
    if name not in names:
        raise NotFound(f"{definition.name} has no job {name!r}", hint=did_you_mean(name, names))
    return {at for at, job in enumerate(definition.jobs) if names[job.template] == name}


def _adjacent(edges: Sequence[Edge]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in edges:
        found[one].append(other)
    return found
