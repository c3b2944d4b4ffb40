"""Revisions of a definition: what each was, what differs between two, and what submitting one does, as a plan."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rekindle.domain.changes.differences import Difference, parameter_differences, template_differences, unlike
from rekindle.domain.definition import JobTemplate
from rekindle.domain.rerunning.plan_form import seal
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, PlannedJob, Reason, ReasonKind, RerunPlan
from rekindle.domain.states import State


@dataclass(frozen=True, slots=True)
class Outline:
    """A revision, or a definition that may become one, in the form in which two are compared."""

    params: Mapping[str, Any]
    templates: Mapping[int, JobTemplate]  # by a number that means something to this outline alone
    jobs: Mapping[str, tuple[int, str]]  # by name: the template, and the JSON text of the matrix values
    edges: Collection[tuple[str, str]]  # (parent, child) by name

    def maker(self, job: str) -> str:
        """The name of the template that a job is made from."""
        return self.templates[self.jobs[job][0]].name


@dataclass(frozen=True, slots=True)
class JobsOf:
    """Jobs that are made from one template."""

    template: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redefined:
    """Jobs of one template that were defined otherwise, all in the same fields. These are named by dotted paths:
    `steps.NAME.run`, `resources.memory`, `matrix.seed`."""

    template: str
    jobs: tuple[str, ...]
    fields: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Rewired:
    """Jobs of one template, in both revisions, that need others of another than they did: pairs (parent, child)."""

    template: str
    needs: str  # the other template
    gained: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RevisionDiff:
    """What differs between two revisions."""

    params: tuple[Difference, ...] = ()
    added: tuple[JobsOf, ...] = ()
    removed: tuple[JobsOf, ...] = ()
    changed: tuple[Redefined, ...] = ()
    edges: tuple[Rewired, ...] = ()


def compare(a: Outline, b: Outline) -> RevisionDiff:
    """What differs in `b`. The order is that of the jobs; jobs are gathered by the template they are made from."""
    return RevisionDiff(
        params=parameter_differences(a.params, b.params),
        added=_gathered(b, (job for job in b.jobs if job not in a.jobs)),
        removed=_gathered(a, (job for job in a.jobs if job not in b.jobs)),
        changed=_changed(a, b),
        edges=_rewired(a, b),
    )


def _gathered(outline: Outline, jobs: Iterable[str]) -> tuple[JobsOf, ...]:
    found: dict[str, list[str]] = {}
    for job in jobs:
        found.setdefault(outline.maker(job), []).append(job)
    return tuple(JobsOf(template, tuple(names)) for template, names in found.items())


def _changed(a: Outline, b: Outline) -> tuple[Redefined, ...]:
    pairs: dict[tuple[int, int], tuple[Difference, ...]] = {}
    found: dict[tuple[int, int, str, str], list[str]] = {}
    for job, (now, bound_now) in b.jobs.items():
        if job not in a.jobs:
            continue
        then, bound_then = a.jobs[job]
        if (then, now) not in pairs:
            pairs[then, now] = tuple(template_differences(a.templates[then], b.templates[now]))
        if bound_then != bound_now:
            found.setdefault((then, now, bound_then, bound_now), []).append(job)
        elif pairs[then, now]:
            found.setdefault((then, now, "", ""), []).append(job)
    return tuple(
        Redefined(b.templates[now].name, tuple(jobs), (*pairs[then, now], *_bound(bound_then, bound_now)))
        for (then, now, bound_then, bound_now), jobs in found.items()
    )


def _bound(then: str, now: str) -> Iterator[Difference]:
    """What differs between two texts of matrix values; texts that are empty are not looked at."""
    one, other = (json.loads(text or "{}") for text in (then, now))
    for found in unlike(one, other):
        yield Difference(f"matrix.{found.field}", found.a, found.b)


def _rewired(a: Outline, b: Outline) -> tuple[Rewired, ...]:
    before, after = set(a.edges), set(b.edges)
    found: dict[tuple[str, str], tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
    for which, outline, edges in ((0, b, after - before), (1, a, before - after)):
        for parent, child in sorted(edges):
            if child in a.jobs and child in b.jobs:
                key = (outline.maker(child), outline.maker(parent))
                found.setdefault(key, ([], []))[which].append((parent, child))
    return tuple(Rewired(*key, tuple(gained), tuple(lost)) for key, (gained, lost) in found.items())


@dataclass(frozen=True, slots=True)
class RevisedJob:
    """What a revision did to a job."""

    id: int
    name: str
    version: int  # that it had
    before: State
    reasons: tuple[Reason, ...]


def revision_reason(kind: ReasonKind, revision: int, **detail: Any) -> Reason:
    """Why a job is in the plan of a revision."""
    return Reason(kind, {"revision": revision, **detail})


def revision_plan(
    jobs: Iterable[RevisedJob], standing: Mapping[int, tuple[str, State, int]], warnings: tuple[str, ...] = ()
) -> RerunPlan:
    """What a revision did, as a plan: of each job that it touched, by `standing` the name, the state and how much of
    what it needs is not done, once it was made."""
    planned = (
        PlannedJob(
            id=job.id,
            name=job.name,
            version=job.version,
            before=job.before,
            after=standing[job.id][1],
            start=FROM_BEGINNING,
            reasons=job.reasons,
            unmet=standing[job.id][2],
        )
        for job in sorted(jobs, key=lambda job: job.id)
    )
    return seal(RerunPlan(tuple(planned), warnings=warnings))
