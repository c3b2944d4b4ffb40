"""Staleness: compare what an attempt depended on with what its job depends on now, and decide which stale jobs may be
accepted as current.

Each part is compared on its own, and differences become typed reasons. Fields of a definition that cannot affect the
result (names, resources, priority, retries, how files are compared) do not count. Parameters, matrix values and outer
variables count only if the definition uses them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, MatchedFiles
from rekindle.domain.changes.template_uses import functions_called, outer_variables, step_texts
from rekindle.domain.definition import Each, JobTemplate
from rekindle.domain.errors import RefusedJob, UnknownWord
from rekindle.domain.overrides import NO_OVERRIDES, AppliedOverrides
from rekindle.domain.rerun.plan import PlannedJob, Reason, ReasonKind, RerunPlan, planned_jobs, seal_plan
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import mask_field
from rekindle.domain.texts.substitution import Reference, find_references

if TYPE_CHECKING:
    from rekindle.domain.models import Job

OPAQUE_PREFIX = "attempt:"
"""The prefix of a result digest that cannot be compared: it equals only itself."""


class Assessment(msgspec.Struct, frozen=True):
    """The result of comparing an attempt with its job. Without reasons it is current if `comparable`, otherwise
    unknown."""

    job: int
    attempt: int
    reasons: tuple[Reason, ...]
    comparable: bool  # beside the definition there was something to compare: files, code, or results of needed jobs
    warnings: tuple[Reason, ...] = ()  # differences that do not make it stale
    recorded: bool = True  # its worker recorded its dependencies

    def strict(self) -> Assessment:
        """Return the assessment in which every difference makes an attempt stale."""
        return replace(self, reasons=(*self.reasons, *self.warnings), warnings=()) if self.warnings else self

    @property
    def stale(self) -> bool | None:
        """Whether the attempt is stale; None: unknown."""
        return True if self.reasons else False if self.comparable else None


class ComparedPart(msgspec.Struct, frozen=True):
    """A part by which an attempt was compared, or would be if no job wrote it. Its kind is that of the reason its
    change would give; commands and functions are DEFINITION."""

    kind: ReasonKind
    name: str
    path: str | None = None  # of a file
    implicit: bool = False  # a file named in a command, not declared


class FilledTemplate(msgspec.Struct, frozen=True):
    """A template with the values that fill it in."""

    template: JobTemplate
    params: Mapping[str, Any]  # without overrides
    matrix: Mapping[str, Any]


class UsedValues(msgspec.Struct, frozen=True):
    """The values that a template's texts use, as paths into parameters and matrix values. `everything`: the template
    calls a function, which may use any of them."""

    params: frozenset[tuple[str, ...]]
    matrix: frozenset[tuple[str, ...]]
    outer: tuple[str, ...]  # variables taken from the surrounding environment
    everything: bool


def values_used(template: JobTemplate, env: Mapping[str, str] | None = None) -> UsedValues:
    """Return the values that a template uses, with `env` on top of its own variables."""
    variables = {**template.env, **(env or {})}
    params: set[tuple[str, ...]] = set()
    matrix: set[tuple[str, ...]] = set()
    texts = [*variables.values(), *template.inputs.values(), *template.outputs.values()]
    texts += [text for step in template.steps for text in step_texts(step)]
    for text in texts:
        for reference in _references(text):
            if reference.scope == "params":
                params.add(reference.path)
            elif reference.scope == "matrix":
                matrix.add(reference.path)
    return UsedValues(
        frozenset(params),
        frozenset(matrix),
        outer_variables(template.steps, variables),
        bool(functions_called(template.steps)),
    )


def definition_reasons(
    then: FilledTemplate,
    now: FilledTemplate,
    modified: AppliedOverrides = NO_OVERRIDES,
    modified_now: AppliedOverrides | None = None,
) -> tuple[Reason, ...]:
    """Return DEFINITION and PARAMETER reasons. `modified` are the attempt's overrides, `modified_now` those of the
    job's next attempt; None: the same."""
    following = modified if modified_now is None else modified_now
    same = modified == following and _json(modified.params) == _json(following.params)
    if same and then == now and _json(then.params) == _json(now.params) and _json(then.matrix) == _json(now.matrix):
        return ()
    reasons: list[Reason] = []
    if then.template is not now.template or modified.env != following.env:
        fields, before = compared_fields(now.template, following.env), compared_fields(then.template, modified.env)
        reasons += [
            Reason(
                ReasonKind.DEFINITION,
                {
                    "field": field,
                    "before": mask_field(field, before.get(field)),
                    "after": mask_field(field, fields.get(field)),
                },
            )
            for field in dict.fromkeys((*fields, *before))
            if _json(before.get(field)) != _json(fields.get(field))
        ]
    used = values_used(now.template, following.env)
    params = ({**then.params, **modified.params}, {**now.params, **following.params})
    reasons += _parameter_reasons(*params, None if used.everything else used.params, "")
    reasons += _parameter_reasons(then.matrix, now.matrix, None if used.everything else used.matrix, "matrix.")
    return tuple(reasons)


def uses_changed_params(template: JobTemplate, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a template uses a parameter whose value differs between `before` and `after`."""
    used = values_used(template)
    return any(True for _ in _parameter_reasons(before, after, None if used.everything else used.params, ""))


def definition_text(one: FilledTemplate, modified: AppliedOverrides = NO_OVERRIDES) -> str:
    """Return everything in a filled definition that matters to the result, as one text. Equivalent definitions have
    equal texts."""
    used = values_used(one.template, modified.env)
    params = {**one.params, **modified.params}
    values = [
        values
        if used.everything
        else {".".join(path): value for path in paths if (value := _value_at(values, path)) is not _NOT_SET}
        for values, paths in ((params, used.params), (one.matrix, used.matrix))
    ]
    return _json([compared_fields(one.template, modified.env), *values])


def compared_fields(template: JobTemplate, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the fields that matter to the result, by dotted name, as JSON values. Steps go by name, since an inserted
    step moves those after it."""
    found: dict[str, Any] = {"steps": [step.name for step in template.steps]}
    for step in template.steps:
        parts: dict[str, Any] = {"run": step.run, "shell": step.shell, "call": step.call, "args": step.args or None}
        parts |= {f"each.{name}": value for name, value in _item_fields(step.each).items()}
        found |= {f"steps.{step.name}.{name}": value for name, value in parts.items() if value is not None}
    for kind, texts in (("inputs", template.inputs), ("outputs", template.outputs)):
        found |= {f"{kind}.{name}": text for name, text in texts.items()}
    found |= {f"env.{name}": text for name, text in {**template.env, **(env or {})}.items()}
    return {**found, "workdir": template.workdir}


def _item_fields(each: Each | None) -> dict[str, Any]:
    if each is None:
        return {}
    return {"glob": each.glob, "items": each.items, "run": each.run, "shell": each.shell, "call": each.call} | {
        "args": each.args or None
    }


def _parameter_reasons(
    before: Mapping[str, Any], after: Mapping[str, Any], used: Iterable[tuple[str, ...]] | None, prefix: str
) -> Iterator[Reason]:
    """Yield PARAMETER reasons; `used` None: every value counts."""
    if before == after and _json(before) == _json(after):
        return
    paths = sorted(used if used is not None else {(name,) for name in (*before, *after)})
    for path in paths:
        one, other = _value_at(before, path), _value_at(after, path)
        if _json(one) != _json(other):
            name = prefix + ".".join(path)
            detail: dict[str, Any] = {"name": name, "before": one, "after": other}
            for side in ("before", "after"):
                if detail[side] is _NOT_SET:
                    detail |= {side: None, "not_set": side}
                else:
                    detail[side] = mask_field(name if prefix else f"params.{name}", detail[side])
            yield Reason(ReasonKind.PARAMETER, detail)


_NOT_SET = object()


def _value_at(values: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path, or _NOT_SET."""
    for name in path:
        if isinstance(values, Mapping):
            values = values.get(name, _NOT_SET)
        elif isinstance(values, list | tuple) and name.isdecimal() and int(name) < len(values):
            values = values[int(name)]
        else:
            return _NOT_SET
    return values


def variable_reasons(then: Mapping[str, str], now: Mapping[str, str]) -> list[Reason]:
    """Return ENVIRONMENT reasons, from digests of outer variables; unrecorded variables do not count."""
    return [
        Reason(
            ReasonKind.ENVIRONMENT,
            {"part": "variable", "name": name, "before": before or None, "after": now.get(name) or None},
        )
        for name, before in then.items()
        if before != now.get(name, ABSENT)
    ]


def file_reason(
    kind: ReasonKind, then: FileContent, path: str, digest: str, matched: MatchedFiles | None = None
) -> Reason | None:
    """Return the INPUT or OUTPUT reason for a changed file, or None. `path`, `digest` and, for the files of a pattern,
    `matched` are the current values."""
    if then.digest == digest:
        return None
    detail: dict[str, Any] = {"name": then.name, "path": path}
    detail |= {"before": then.digest or None, "after": digest or None}
    if then.implicit:
        detail["implicit"] = True
    pattern = matched or then.matched
    if pattern is not None:
        detail["pattern"] = pattern.pattern
    if matched is not None and then.matched is not None and None not in (matched.files, then.matched.files):
        detail |= compare_matches(then.matched.files or {}, matched.files or {})
    return Reason(kind, detail)


MOST_LISTED_FILES = 20
"""Paths of each kind that a reason lists."""


def compare_matches(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """Return the detail of a reason: the differences between the files that a pattern matched before and after (digests
    by path)."""
    sorts = {
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
    }
    counts = {sort: len(names) for sort, names in sorts.items()}
    return {**{sort: names[:MOST_LISTED_FILES] for sort, names in sorts.items()}, "counts": counts}


def result_reason(job: int, name: str, before: str | None, after: str | None) -> Reason | None:
    """Return the reason for a changed result of a needed job, or None. A digest (see `result_digest`) of None: not
    needed."""
    if before == after:
        return None
    if after is not None and after.startswith(OPAQUE_PREFIX) and before is not None:
        return Reason(ReasonKind.OPAQUE, {"job": job, "name": name})
    return Reason(ReasonKind.RESULT, {"job": job, "name": name, "before": before, "after": after})


def result_digest(attempt: int, result: str | None, outputs: Iterable[FileContent]) -> str:
    """Return the digest of a completed attempt for the jobs that need it: 32 hexadecimal digits over its result (JSON
    text) and outputs. With neither, the digest equals only itself."""
    made = sorted((one.name, one.digest) for one in outputs)
    if result is None and not made:
        return f"{OPAQUE_PREFIX}{attempt}"
    import hashlib

    return hashlib.blake2b(json.dumps([result, made]).encode(), digest_size=16).hexdigest()


def _references(text: str) -> tuple[Reference, ...]:
    try:
        return find_references(text) if "${" in text else ()
    except UnknownWord:  # an invalid text cannot run, so it uses nothing
        return ()


def _json(value: Any) -> str:
    """Return the value as JSON, because true, 1 and 1.0 are equal in Python. Null differs from no value."""
    if value is _NOT_SET:
        return ""
    return json.dumps(value, sort_keys=True, default=str)


class Acceptance(msgspec.Struct, frozen=True):
    """The result of an accept: a plan that resets nothing and has the accepted reasons job by job, and the jobs that
    are already current. Refused jobs are in the plan's `refused`."""

    plan: RerunPlan
    current: tuple[int, ...]


def decide_acceptance(jobs: Sequence[Job], found: Mapping[int, Assessment]) -> Acceptance:
    """Sort the requested jobs into accepted, current and refused ones. `found` has the assessment of the live attempt
    of each completed job; a job without one is refused."""
    accepted, refused, current = [], [], []
    for job in sorted(jobs, key=lambda one: one.id):
        why = _refuse(job, found.get(job.id))
        if why:
            refused.append(RefusedJob(job.id, job.name, why))
        elif not found[job.id].reasons:
            current.append(job.id)
        else:
            accepted.append(_accepted_job(job, found[job.id].reasons))
    return Acceptance(seal_plan(RerunPlan(planned_jobs(accepted), refused=tuple(refused))), tuple(current))


def _refuse(job: Job, found: Assessment | None) -> str:
    if job.retired:
        return "it is retired: the latest revision of its workflow does not have it any more"
    if job.state in ACTIVE:
        return f"it is {job.state.label}: what it depends on is recorded as it goes"
    if job.state is not State.COMPLETED or found is None or found.attempt != job.attempt:
        return f"it {_not_completed(job)}: there is nothing that could be accepted; rerun it"
    for reason in found.reasons:
        if missing := _describe_missing(reason):
            return f"{missing}; rerun it"
    return ""


def _not_completed(job: Job) -> str:
    if job.state is State.FAILED:
        return "failed"
    if job.state is State.CANCELED:
        return "was canceled"
    return "has not run yet since it was reset" if job.attempts else "has not run yet"


def _describe_missing(reason: Reason) -> str:
    detail = reason.detail
    if reason.kind is ReasonKind.NEEDS:
        return f"`{detail['name']}`, which it needs, is not done"
    if reason.kind in (ReasonKind.INPUT, ReasonKind.OUTPUT) and detail["after"] is None:
        return f"its {reason.kind.value} {detail['path']} is missing"
    return ""


def _accepted_job(job: Job, reasons: tuple[Reason, ...]) -> PlannedJob:
    return PlannedJob(job.id, job.name, job.version, job.state, job.state, "", reasons, unmet=job.unmet)
