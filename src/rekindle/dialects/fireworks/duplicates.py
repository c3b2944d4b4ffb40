"""Duplicates: a firework with a `_dupefinder` that has run already, with the same spec, is not run again.

Whether the specs are the same is told twice: by their files, when the workflow is added, and by what a firework is
given, when it runs: only then is known what those before it have changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rekindle.dialects.fireworks.flows import Flow
from rekindle.dialects.fireworks.stored import binding_of, specs, workflows
from rekindle.domain.errors import Problem, SpecError
from rekindle.domain.models import Attempt, Job
from rekindle.domain.selection import Compare, Every, Op, Selection
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.session import Session

_EXACT, _EXACT_ONCE = "DupeFinderExact", "Dupe Finder Exact"
"""The finder that there is, and its name in old files."""


def with_twins(session: Session, flow: Flow) -> Flow:
    """The workflow, each firework that asks for it told of those in the store with the same spec, and of what they
    did: `job`, `spec` (as it was given) and the `results` of its tasks. SpecError names a finder that is not there."""
    check_finders(flow, flow.name)
    asking = {one.id: one.spec for one in flow.fireworks if one.spec.get("_dupefinder")}
    if not asking:
        return flow
    found: dict[int, list[dict[str, Any]]] = {}
    done = list(_done(session))
    for number, spec in asking.items():
        alike = [(job, attempt) for job, attempt, other in done if other == spec]
        given = specs(session, [job for job, _ in alike])
        found[number] = [
            {"job": job.id, "spec": given[job.id], "results": _results(attempt)} for job, attempt in alike[-_MOST:]
        ]
    fireworks = (dataclasses.replace(one, twins=tuple(found.get(one.id, ()))) for one in flow.fireworks)
    return dataclasses.replace(flow, fireworks=tuple(fireworks))


def check_finders(flow: Flow, where: str) -> None:
    """SpecError names each finder that is not there; `where` stands for the file."""
    problems = [
        Problem(0, 0, f"the firework {one.id} has the `_dupefinder` {name!r:.60}", f"{_EXACT} is the one there is")
        for one in flow.fireworks
        if one.spec.get("_dupefinder") and (name := _finder(one.spec)) != _EXACT
    ]
    if problems:
        raise SpecError(where, problems)


_MOST = 10
"""Twins of a firework that are kept: the newest."""


def _finder(spec: Mapping[str, Any]) -> str:
    finder = spec["_dupefinder"]
    name = finder.get("_fw_name") if isinstance(finder, Mapping) else finder
    found = str(name).strip("{} ").rsplit(".", 1)[-1].rsplit("::", 1)[-1]
    return _EXACT if found == _EXACT_ONCE else found


def _done(session: Session) -> Iterator[tuple[Job, Attempt, Mapping[str, Any]]]:
    """Fireworks that have completed and ask for it themselves, with the specs of their files."""
    for workflow in workflows(session):
        completed = Every((Compare("state", Op.EQ, State.COMPLETED),))
        ids = look.select(session, Selection(workflow=str(workflow.id), where=completed))
        jobs = {row.job.id: row.job for row in look.jobs(session, ids)}
        asking = [job for job in jobs.values() if binding_of(job).get("spec", {}).get("_dupefinder")]
        for attempt in look.attempts(session, [job.id for job in asking], live=True):
            if attempt.state is State.COMPLETED:
                job = jobs[attempt.job]
                yield job, attempt, binding_of(job)["spec"]


def _results(attempt: Attempt) -> list[Any]:
    """What each task did. A task behind one that ended the launch did nothing."""
    known = {step.position: step.result for step in attempt.steps}
    texts = [known.get(at) for at in range(max(known, default=-1) + 1)]
    return [{} if text is None else msgspec.json.decode(text) for text in texts]
