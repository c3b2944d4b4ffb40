"""Revisions of a definition: compare two, plan the effects of a new one, and find overrides that it outdates."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rekindle.domain.changes.differences import Difference, differing_keys, parameter_differences, template_differences
from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import RekindleError
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.rerun.request import FROM_BEGINNING
from rekindle.domain.states import State
from rekindle.domain.texts.display import NOT_SET, format_value, mask_field
from rekindle.domain.texts.quantities import format_duration, format_size
from rekindle.domain.texts.substitution import render_text

if TYPE_CHECKING:
    from rekindle.domain.overrides import AppliedOverrides


class RevisionOutline(msgspec.Struct, frozen=True):
    """A revision, or a definition that may become one, in the form used for comparison."""

    params: Mapping[str, Any]
    templates: Mapping[int, JobTemplate]  # by a number that is local to this outline
    jobs: Mapping[str, tuple[int, str]]  # by name: the template, and the JSON text of the matrix values
    edges: Collection[tuple[str, str]]  # (parent, child) by name

    def maker(self, job: str) -> str:
        """Return the name of a job's template."""
        return self.templates[self.jobs[job][0]].name


class TemplateJobs(msgspec.Struct, frozen=True):
    """Jobs of one template."""

    template: str
    jobs: tuple[str, ...]


class RedefinedJobs(msgspec.Struct, frozen=True):
    """Jobs of one template whose definitions differ in the same fields, named by dotted paths: `steps.NAME.run`,
    `resources.memory`, `matrix.seed`."""

    template: str
    jobs: tuple[str, ...]
    fields: tuple[Difference, ...]


class RewiredJobs(msgspec.Struct, frozen=True):
    """Jobs of one template, in both revisions, whose needs among another template's jobs changed: pairs (parent,
    child)."""

    template: str
    needs: str  # the other template
    gained: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...]


class RevisionDiff(msgspec.Struct, frozen=True):
    """The differences between two revisions."""

    params: tuple[Difference, ...] = ()
    added: tuple[TemplateJobs, ...] = ()
    removed: tuple[TemplateJobs, ...] = ()
    changed: tuple[RedefinedJobs, ...] = ()
    edges: tuple[RewiredJobs, ...] = ()


def diff_outlines(a: RevisionOutline, b: RevisionOutline) -> RevisionDiff:
    """Return the differences of `b` from `a`, in job order, grouped by template."""
    return RevisionDiff(
        params=parameter_differences(a.params, b.params),
        added=_group_by_template(b, (job for job in b.jobs if job not in a.jobs)),
        removed=_group_by_template(a, (job for job in a.jobs if job not in b.jobs)),
        changed=_redefined_jobs(a, b),
        edges=_rewired_jobs(a, b),
    )


def _group_by_template(outline: RevisionOutline, jobs: Iterable[str]) -> tuple[TemplateJobs, ...]:
    found: dict[str, list[str]] = {}
    for job in jobs:
        found.setdefault(outline.maker(job), []).append(job)
    return tuple(TemplateJobs(template, tuple(names)) for template, names in found.items())


def _redefined_jobs(a: RevisionOutline, b: RevisionOutline) -> tuple[RedefinedJobs, ...]:
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
        RedefinedJobs(
            b.templates[now].name, tuple(jobs), (*pairs[then, now], *_matrix_differences(bound_then, bound_now))
        )
        for (then, now, bound_then, bound_now), jobs in found.items()
    )


def _matrix_differences(then: str, now: str) -> Iterator[Difference]:
    """Yield the differences between two texts of matrix values; empty texts are ignored."""
    one, other = (json.loads(text or "{}") for text in (then, now))
    for found in differing_keys(one, other):
        yield Difference(f"matrix.{found.field}", found.a, found.b)


def _rewired_jobs(a: RevisionOutline, b: RevisionOutline) -> tuple[RewiredJobs, ...]:
    before, after = set(a.edges), set(b.edges)
    found: dict[tuple[str, str], tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
    for which, outline, edges in ((0, b, after - before), (1, a, before - after)):
        for parent, child in sorted(edges):
            if child in a.jobs and child in b.jobs:
                key = (outline.maker(child), outline.maker(parent))
                found.setdefault(key, ([], []))[which].append((parent, child))
    return tuple(RewiredJobs(*key, tuple(gained), tuple(lost)) for key, (gained, lost) in found.items())


class RevisedJob(msgspec.Struct, frozen=True):
    """What a revision changed of a job."""

    id: int
    name: str
    version: int  # before the revision
    before: State
    reasons: tuple[Reason, ...]


_Stored = TypeVar("_Stored")
_Defined = TypeVar("_Defined")


def pair_by_name(
    stored: Iterable[tuple[str, _Stored]], defined: Iterable[tuple[str, _Defined]]
) -> Iterator[tuple[_Stored | None, _Defined | None]]:
    """Yield what has the same name in both, and at the end, in order, what has no counterpart. Names are there once.

    Memory grows with how far two of one name are apart, not with their number: most revisions keep the order of jobs.
    """
    left: dict[str, _Stored] = {}
    right: dict[str, _Defined] = {}
    ones, others = iter(stored), iter(defined)
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if one is not None and other is not None and one[0] == other[0]:
            yield one[1], other[1]
            one, other = next(ones, None), next(others, None)
        elif one is not None and one[0] in right:
            yield one[1], right.pop(one[0])
            one = next(ones, None)
        elif other is not None and other[0] in left:
            yield left.pop(other[0]), other[1]
            other = next(others, None)
        else:
            if one is not None:
                left[one[0]] = one[1]
                one = next(ones, None)
            if other is not None:
                right[other[0]] = other[1]
                other = next(others, None)
    for some in left.values():
        yield some, None
    for more in right.values():
        yield None, more


def revision_reason(kind: ReasonKind, revision: int, **detail: Any) -> Reason:
    """Return the reason of a job in the plan of a revision."""
    return Reason(kind, {"revision": revision, **detail})


def revision_plan(
    jobs: Iterable[RevisedJob], after: Mapping[int, tuple[str, State, int]], warnings: tuple[str, ...] = ()
) -> RerunPlan:
    """Return the effects of a revision as a plan. `after` has, for each changed job, its name, state and unmet count
    after the revision."""
    planned = (
        PlannedJob(
            id=job.id,
            name=job.name,
            version=job.version,
            before=job.before,
            after=after[job.id][1],
            start=FROM_BEGINNING,
            reasons=job.reasons,
            unmet=after[job.id][2],
        )
        for job in sorted(jobs, key=lambda job: job.id)
    )
    return seal_plan(RerunPlan(planned_jobs(planned), warnings=warnings))


_MISSING = object()


_NAMED_JOBS = 5  # number of jobs named in a warning


class SpecValues(msgspec.Struct, frozen=True):
    """The values in a revision that a rerun can override for a job."""

    template: JobTemplate
    params: Mapping[str, Any]

    def value_of(self, name: str) -> Any:
        """Return the value of an override name (see `AppliedOverrides.named`), or _MISSING."""
        kind, _, rest = name.partition(".")
        if kind == "params":
            return self.params.get(rest, _MISSING)
        if kind == "env":
            return self._variable(rest)
        return getattr(self.template.resources, kind)

    def _variable(self, name: str) -> Any:
        text = self.template.env.get(name, _MISSING)
        if not isinstance(text, str) or "${" not in text:
            return text
        try:
            return render_text(text, {"params": self.params})
        except RekindleError:  # the text also uses values of the matrix or the job
            used = {key: value for key, value in self.params.items() if f"params.{key}" in text}
            return text if not used else f"{text} with {json.dumps(used, sort_keys=True)}"


class DroppedOverride(msgspec.Struct, frozen=True):
    """A dropped override, with the value in the spec before and after."""

    job: str
    name: str  # see AppliedOverrides.named
    value: Any
    before: Any
    after: Any


def outdated_overrides(modified: AppliedOverrides, before: SpecValues, after: SpecValues) -> dict[str, tuple[Any, Any]]:
    """Return the overrides whose value in the spec has changed, by name, with both values."""
    found = {}
    for name in modified.named():
        one, other = before.value_of(name), after.value_of(name)
        if (one is _MISSING) != (other is _MISSING) or (one is not _MISSING and _json(one) != _json(other)):
            found[name] = (one, other)
    return found


def dropped_overrides(
    job: str, modified: AppliedOverrides, found: Mapping[str, tuple[Any, Any]]
) -> Iterator[DroppedOverride]:
    """Yield the overrides found by `outdated_overrides`, with secrets masked; none that the spec now equals."""
    values = modified.named()
    for name, sides in found.items():
        if sides[1] is not _MISSING and _json(values[name]) == _json(sides[1]):
            continue
        value, before, after = (one if one is _MISSING else mask_field(name, one) for one in (values[name], *sides))
        yield DroppedOverride(job, name, value, before, after)


def dropped_warnings(dropped: Sequence[DroppedOverride]) -> tuple[str, ...]:
    """Return warnings such as `j: the override a=3 is dropped: the spec now says a = 7 (was 1)`, one for all jobs with
    the same change."""
    alike: dict[str, list[str]] = {}
    for one in dropped:
        kind, _, rest = one.name.partition(".")
        name = rest or kind
        value, before, after = (_format_value(kind, each) for each in (one.value, one.before, one.after))
        now = f"no longer sets {name}" if one.after is _MISSING else f"now says {name} = {after}"
        text = f"the override {name}={value} is dropped: the spec {now} (was {before})"
        alike.setdefault(text, []).append(one.job)
    return tuple(f"{_job_list(jobs)}: {text}" for text, jobs in alike.items())


def _job_list(jobs: Sequence[str]) -> str:
    more = f" and {len(jobs) - _NAMED_JOBS:,} more" if len(jobs) > _NAMED_JOBS else ""
    return ", ".join(jobs[:_NAMED_JOBS]) + more


def _format_value(kind: str, value: Any) -> str:
    if value is _MISSING or (value is None and kind == "time") or (value == 0 and kind == "memory"):
        return NOT_SET
    if kind == "memory":
        return format_size(int(value))
    if kind == "time":
        return format_duration(value)
    return f"{value:g}" if kind == "cpus" else format_value(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
