"""A workflow appended to one that is stored: its next revision, with more fireworks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.flows import Firework, Flow
from rekindle.dialects.fireworks.launched import action_document
from rekindle.dialects.fireworks.spec_changes import changed
from rekindle.dialects.fireworks.standing import owners
from rekindle.dialects.fireworks.stored import flow_of
from rekindle.dialects.fireworks.updating import redefined
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import submit


def append_flow(
    session: Session, parents: Sequence[int], flow: Flow, *, detour: bool = False, pull: bool = True
) -> dict[int, int]:
    """Append a workflow behind fireworks of one that is stored. With `detour` what needs these needs the new ones too;
    with `pull` the first of the new ones get what these have changed in the specs of their children. Returns the new
    ids, by their numbers in `flow`."""
    base, workflow = _base(session, parents)
    first = max(one.id for one in base.fireworks) + 1
    numbers = {one.id: first + place for place, one in enumerate(flow.fireworks)}
    pulled = _pulled(session, parents) if pull else []
    more = [_renumbered(one, numbers[one.id], pulled if one.id in flow.roots else ()) for one in flow.fireworks]
    links = dict(base.links) | {numbers[one]: _all(numbers, every) for one, every in flow.links.items()}
    for parent in parents:
        links[parent] = tuple(dict.fromkeys((*base.links[parent], *_all(numbers, sorted(flow.roots)))))
    if detour:
        below = tuple(dict.fromkeys(child for parent in parents for child in base.links[parent]))
        links |= {numbers[leaf]: below for leaf in flow.leaves}
    whole = dataclasses.replace(base, fireworks=(*base.fireworks, *more), links=links)
    definition = redefined(session, workflow, whole, [one.id for one in base.fireworks])
    submit(session, definition, revision_of=workflow.id)
    names = [node.name for node in definition.jobs[len(base.fireworks) :]]
    ids = look.select(session, Selection(workflow=str(workflow.id), jobs=tuple(names)))
    found = {row.job.name: row.job.id for row in look.jobs(session, ids)}
    return {one.id: found[name] for one, name in zip(flow.fireworks, names, strict=True)}


def _base(session: Session, parents: Sequence[int]) -> tuple[Flow, Any]:
    """The workflow that these fireworks are of, read back, and as it is stored."""
    known = {row.job.id: row.job for row in look.jobs(session, parents)}
    missing = [str(one) for one in parents if one not in known]
    if missing or not parents:
        raise NotFound(f"there is no firework {', '.join(missing)}: nothing is appended", hint="-i names the parents")
    workflows = owners(session, parents)
    if len(workflows) > 1:
        raise Refused(
            "these fireworks are of several workflows: nothing is appended", hint="name fireworks of one workflow"
        )
    added = [job.id for job in known.values() if job.added_by is not None]
    if added:
        raise Refused(
            f"firework {added[0]} was added by another while it ran, which would add it again without these",
            hint="append to a firework of the workflow's own, or `lpad add` a workflow",
        )
    return flow_of(session, workflows[0]), workflows[0]


def _pulled(session: Session, parents: Sequence[int]) -> list[Mapping[str, Any]]:
    """What the fireworks have done, as far as they have completed, in their order."""
    live = {one.job: one for one in look.attempts(session, parents, live=True) if one.state is State.COMPLETED}
    return [action_document(live[one], {}) or {} for one in parents if one in live]


def _renumbered(one: Firework, number: int, actions: Sequence[Mapping[str, Any]]) -> Firework:
    spec = dict(one.spec)
    for action in actions:
        spec = changed(spec, action)
    return dataclasses.replace(one, id=number, spec=spec)


def _all(numbers: Mapping[int, int], every: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers[one] for one in every)
