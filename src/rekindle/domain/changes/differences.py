"""Differences between two attempts, field by field, and between the code and environment they ran in.

Fields are named by dotted paths: `params.` are final parameter values, `template.` is the definition, `modified.` the
overrides of a rerun, `steps.` the outcome of each step. Modules, inputs, files named in commands (`named.`), outputs,
outer variables and needed jobs are compared by digests. Values are JSON values; None means missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.changes.fingerprints import ABSENT, ENVIRONMENT, METHOD, WHOLE, EnvironmentPart, FileFingerprints
from rekindle.domain.definition import Each, JobTemplate, Quarantine, Resources, Step
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.retry import rule_to_json
from rekindle.domain.texts.display import mask_field

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, StepOutcome

NAMED_PREFIX = "named."
"""The prefix of fields for files that are named in a command, not declared."""


class Difference(msgspec.Struct, frozen=True):
    """A field with its value in two attempts. Memory is in bytes, times are in seconds."""

    field: str
    a: Any
    b: Any
    not_set: Literal["before", "after"] | None = None  # the side without a value; only for parameters


class AttemptContext(msgspec.Struct, frozen=True):
    """What an attempt ran with beside its own row. Parts that one of two attempts did not record are not compared."""

    params: Mapping[str, Any] = msgspec.field(default_factory=dict)  # with dynamic changes and overrides
    matrix: Mapping[str, Any] = msgspec.field(default_factory=dict)
    resources: Resources | None = None  # with overrides
    code: Mapping[str, str] | None = None  # module -> digest
    prints: FileFingerprints | None = None
    needed: Mapping[str, str] = msgspec.field(default_factory=dict)  # needed job -> digest of its result


NO_CONTEXT = AttemptContext()


def attempt_differences(
    a: Attempt,
    b: Attempt,
    template_a: JobTemplate,
    template_b: JobTemplate,
    around_a: AttemptContext = NO_CONTEXT,
    around_b: AttemptContext = NO_CONTEXT,
) -> list[Difference]:
    """Return the fields in which two attempts differ: first their definition and inputs, then their outcome.

    The templates are those of the attempts. Results are compared by the paths at which they diverge."""
    sections = (
        (_identity_fields(a), _identity_fields(b)),
        (_value_fields(around_a), _value_fields(around_b)),
        (_template_fields(template_a), _template_fields(template_b)),
        (_override_fields(a), _override_fields(b)),
        _context_fields(around_a, around_b),
        (_outcome_fields(a), _outcome_fields(b)),
        _result_fields(a, b),
        _output_digests(around_a, around_b),
        (_step_fields(a), _step_fields(b)),
    )
    return [found for one, other in sections for found in differing_keys(one, other)]


def template_differences(a: JobTemplate, b: JobTemplate) -> Iterator[Difference]:
    """Return the fields in which two templates differ, without the prefix `template.`; their names do not count."""
    one, other = (
        {name.removeprefix("template."): value for name, value in _template_fields(each).items()} for each in (a, b)
    )
    return (found for found in differing_keys(one, other) if found.field != "name")


def differing_keys(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Return the keys at which two mappings differ."""
    for name in dict.fromkeys((*a, *b)):
        one, other = a.get(name), b.get(name)
        # as JSON text, because True == 1 in Python
        if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            yield Difference(name, mask_field(name, one), mask_field(name, other))


def parameter_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return the parameters in which two mappings differ; null is a value."""
    both = {each.field: each for each in differing_keys(a, b)}
    found: list[Difference] = []
    for name in dict.fromkeys((*a, *b)):
        if name not in b:
            found.append(Difference(name, mask_field(name, a[name]), None, "after"))
        elif name not in a:
            found.append(Difference(name, None, mask_field(name, b[name]), "before"))
        elif name in both:
            found.append(both[name])
    return tuple(found)


def _identity_fields(one: Attempt) -> dict[str, Any]:
    return {"job": one.job, "workflow": one.workflow, "revision": one.revision}


def _template_fields(template: JobTemplate) -> dict[str, Any]:
    """Flatten a template. Steps go by name, since an inserted step moves those after it."""
    found = {"template.steps": [step.name for step in template.steps]}
    for step in template.steps:
        found.update(_flat(f"template.steps.{step.name}", _fields(step, "name")))
    return {**found, **_flat("template", _fields(template, "steps"))}


def _fields(part: JobTemplate | Step | Each | Resources, *but: str) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__struct_fields__ if name not in but}


def _flat(path: str, value: Any) -> dict[str, Any]:
    """Flatten a value by dotted path down to values that are not mappings; empty mappings are omitted."""
    if isinstance(value, Resources):
        value = {**_fields(value), "licences": dict(value.licences)}
    elif isinstance(value, Each):
        value = _fields(value)
    elif isinstance(value, Quarantine):
        value = {"until": value.until.isoformat(), "why": value.why}
    elif path == "template.retry":
        value = {str(at): rule_to_json(rule) for at, rule in enumerate(value, 1)}
    if isinstance(value, Mapping):
        return {name: end for key, inner in value.items() for name, end in _flat(f"{path}.{key}", inner).items()}
    return {path: list(value) if isinstance(value, tuple) else value}


def _override_fields(one: Attempt) -> dict[str, Any]:
    """Return the overrides of a rerun; parameters and variables by name, each as a whole."""
    found: dict[str, Any] = {}
    for kind, value in json.loads(one.overrides or "{}").items():
        if kind in ("params", "env"):
            found.update({f"modified.{kind}.{name}": inner for name, inner in value.items()})
        else:
            found[f"modified.{kind}"] = value
    return found


def _outcome_fields(one: Attempt) -> dict[str, Any]:
    return {
        "start_step": one.start_step,
        "builds_on": one.builds_on,
        "partial": one.partial,
        "host": one.host,
        **_end_fields(one),
        "seconds": _seconds(one),
        "cpu_seconds": one.cpu_seconds,
        "max_rss_bytes": one.max_rss_bytes,
    }


def _end_fields(one: Attempt | StepOutcome) -> dict[str, Any]:
    return {
        "state": one.state.label,
        "cause": one.cause.value if one.cause else None,
        "exit_code": one.exit_code,
        "verdict": one.verdict.word.value if one.verdict else None,
        "verdict_message": one.verdict.message if one.verdict else None,
        "signal": one.signal,
    }


def _seconds(one: Attempt | StepOutcome) -> float | None:
    return None if one.started is None or one.ended is None else round(max(0.0, one.ended - one.started), 6)


def _value_fields(one: AttemptContext) -> dict[str, Any]:
    found = {f"params.{name}": value for name, value in one.params.items()}
    return found | {f"matrix.{name}": value for name, value in one.matrix.items()}


FieldPair = tuple[dict[str, Any], dict[str, Any]]


def _context_fields(a: AttemptContext, b: AttemptContext) -> FieldPair:
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    if a.resources is not None and b.resources is not None:
        one |= _flat("resources", a.resources)
        other |= _flat("resources", b.resources)
    if a.code is not None and b.code is not None:
        for side, code, values in zip((one, other), (a.code, b.code), code_differences(a.code, b.code), strict=True):
            side |= {f"code.{name}": digest for name, digest in values.items()}
            side |= {f"environment.{kind}.{name}": value for (kind, name), value in environment_parts(code).items()}
    if a.prints is not None and b.prints is not None:
        for side, prints in ((one, a.prints), (other, b.prints)):
            side |= {f"inputs.{content.name}": content.digest for content in prints.inputs if not content.implicit}
            named = (content for content in prints.inputs if content.implicit and content.compared)
            side |= {f"{NAMED_PREFIX}{content.name}": content.digest for content in named}
            side |= {f"environment.{name}": digest for name, digest in prints.env.items()}
    one |= {f"needs.{job}": digest for job, digest in a.needed.items()}
    other |= {f"needs.{job}": digest for job, digest in b.needed.items()}
    return one, other


def _output_digests(a: AttemptContext, b: AttemptContext) -> FieldPair:
    """Return the output digests, if both attempts completed."""
    one, other = (side.prints.outputs if side.prints else () for side in (a, b))
    if not (one and other):
        return {}, {}
    digests = [{f"outputs.{content.name}": content.digest for content in side} for side in (one, other)]
    return digests[0], digests[1]


def _result_fields(a: Attempt, b: Attempt) -> FieldPair:
    one, other = (json.loads(attempt.result) if attempt.result else None for attempt in (a, b))
    found: FieldPair = ({}, {})
    _diverging_paths("result", one, other, found)
    return found


def _diverging_paths(path: str, a: Any, b: Any, found: FieldPair) -> None:
    """Collect the paths at which two values diverge: within them while both are objects, or lists of equal length."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            _diverging_paths(f"{path}.{key}", a.get(key), b.get(key), found)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for at, (one, other) in enumerate(zip(a, b, strict=True)):
            _diverging_paths(f"{path}[{at}]", one, other, found)
    else:
        found[0][path], found[1][path] = a, b


def _step_fields(one: Attempt) -> dict[str, Any]:
    return {
        f"steps.{step.name}.{name}": value
        for step in one.steps
        for name, value in {**_end_fields(step), "seconds": _seconds(step), "kept_from": step.kept_from}.items()
    }


ON_IMPORT = "<module>"
"""The name, in reasons, of a module's statements with side effects on import."""


def environment_parts(recorded: Mapping[str, str]) -> dict[EnvironmentPart, str]:
    """Return the parts of the environment in a mapping."""
    return {
        EnvironmentPart(*key.removeprefix(ENVIRONMENT).split(" ", 1)): value
        for key, value in recorded.items()
        if key.startswith(ENVIRONMENT)
    }


def code_reasons(then: Mapping[str, str], now: Mapping[str, str]) -> list[Reason]:
    """Return CODE reasons: definitions that differ, and modules whose definitions cannot be compared."""
    return [Reason(ReasonKind.CODE, detail) for detail in _code_changes(then, now)]


def code_differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the differing code of two recordings, by `module` or `module:name`, with the digests of both."""
    sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for detail in _code_changes(then, now):
        label = ":".join(filter(None, (detail["module"], detail.get("name"))))
        for side, found in zip(sides, ("before", "after"), strict=True):
            if detail[found] is not None:
                side[label] = detail[found]
    return sides


def environment_part_reasons(sides: Mapping[EnvironmentPart, tuple[str, str]]) -> list[Reason]:
    """Return ENVIRONMENT reasons for the parts whose values, then and now, differ."""
    return [
        Reason(
            ReasonKind.ENVIRONMENT,
            {"part": part.kind, "name": part.name, "before": before or None, "after": after or None},
        )
        for part, (before, after) in sides.items()
        if before != after
    ]


def _code_changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    before, after = _file_digests(then), _file_digests(now)
    if then.get(METHOD) != now.get(METHOD) or METHOD not in then:
        yield from (
            {"module": module, **_before_after(before.get(module), after.get(module))}
            for module in sorted({*before, *after})
            if before.get(module) != after.get(module)
        )
        return
    one, other = _definition_digests(then), _definition_digests(now)
    for module in sorted({*one, *other, *(name for name, digest in (*before.items(), *after.items()) if not digest)}):
        here, there = one.get(module, {}), other.get(module, {})
        because = there.get(WHOLE) or here.get(WHOLE)
        missing = ABSENT in (before.get(module), after.get(module))
        if because is None and not missing:
            for name in sorted({*here, *there}):
                if here.get(name) != there.get(name):
                    yield {
                        "module": module,
                        "name": name or ON_IMPORT,
                        **_before_after(here.get(name), there.get(name)),
                    }
        elif before.get(module) != after.get(module):
            whole = {"whole": True, "because": because} if because else {}
            yield {"module": module, **whole, **_before_after(before.get(module), after.get(module))}


def _before_after(before: str | None, after: str | None) -> dict[str, str | None]:
    return {"before": before or None, "after": after or None}


def _file_digests(recorded: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in recorded.items() if ":" not in key and not key.startswith(ENVIRONMENT)}


def _definition_digests(recorded: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, value in recorded.items():
        module, colon, name = key.partition(":")
        if colon and module and not key.startswith(ENVIRONMENT):
            found.setdefault(module, {})[name] = value
    return found
