"""What differs between two attempts, field by field.

Fields are named by dotted paths: `params.` are the values that parameters had in the end, `template.` is what was
defined, `modified.` what a rerun set on top of that, `steps.` how each step ended. What modules, inputs, files
that commands name (`named.`), outputs, outer variables and the jobs that are needed came to is told by digests. Values
are as JSON has them; None stands for what an attempt has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from rekindle.domain.changes.code import code_values, environment_of
from rekindle.domain.changes.prints import Prints
from rekindle.domain.definition import Each, JobTemplate, Resources, Step
from rekindle.domain.models import Attempt, StepOutcome
from rekindle.domain.rerunning.retrying import rule_to_json
from rekindle.domain.texts.secrets import masked_field

NAMED = "named."
"""A field begins so that stands for a file which is not declared, but named in a command."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field with the value that each of two attempts has. Memory is in bytes, times are in seconds."""

    field: str
    a: Any
    b: Any
    not_set: Literal["before", "after"] | None = None  # the side that has no value at all; only of parameters


@dataclass(frozen=True, slots=True)
class Around:
    """What an attempt had beside its own row, as far as it is known. What one of two attempts has not recorded is not
    compared."""

    params: Mapping[str, Any] = field(default_factory=dict)  # with what actions changed and a rerun modified
    matrix: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources | None = None  # with what a rerun modified
    code: Mapping[str, str] | None = None  # module -> digest
    prints: Prints | None = None
    needed: Mapping[str, str] = field(default_factory=dict)  # job that it needs -> what that came to


NOTHING_AROUND = Around()


def differences(
    a: Attempt,
    b: Attempt,
    template_a: JobTemplate,
    template_b: JobTemplate,
    around_a: Around = NOTHING_AROUND,
    around_b: Around = NOTHING_AROUND,
) -> list[Difference]:
    """The fields in which two attempts are not alike: first what they were to do and how, then what became of them.

    The templates are those that the attempts ran. Results are compared by the paths within them at which they part.
    """
    sections = (
        (_origin(a), _origin(b)),
        (_values(around_a), _values(around_b)),
        (_defined(template_a), _defined(template_b)),
        (_modified(a), _modified(b)),
        _surroundings(around_a, around_b),
        (_course(a), _course(b)),
        _results(a, b),
        _outputs(around_a, around_b),
        (_steps(a), _steps(b)),
    )
    return [found for one, other in sections for found in unlike(one, other)]


def template_differences(a: JobTemplate, b: JobTemplate) -> Iterator[Difference]:
    """The fields in which two templates are not alike, without `template.` in front; their names do not count."""
    one, other = ({name.removeprefix("template."): value for name, value in _defined(each).items()} for each in (a, b))
    return (found for found in unlike(one, other) if found.field != "name")


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """The keys of which two mappings do not have equal values."""
    for name in dict.fromkeys((*a, *b)):
        one, other = a.get(name), b.get(name)
        # as JSON text, because Python takes true and 1 for the same value
        if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            yield Difference(name, masked_field(name, one), masked_field(name, other))


def parameter_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The parameters of which two mappings do not have equal values; null is a value."""
    both = {each.field: each for each in unlike(a, b)}
    found: list[Difference] = []
    for name in dict.fromkeys((*a, *b)):
        if name not in b:
            found.append(Difference(name, masked_field(name, a[name]), None, "after"))
        elif name not in a:
            found.append(Difference(name, None, masked_field(name, b[name]), "before"))
        elif name in both:
            found.append(both[name])
    return tuple(found)


def _origin(one: Attempt) -> dict[str, Any]:
    return {"job": one.job, "workflow": one.workflow, "revision": one.revision}


def _defined(template: JobTemplate) -> dict[str, Any]:
    """A template, flattened: its steps by name, since a step that is put in moves those after it."""
    found = {"template.steps": [step.name for step in template.steps]}
    for step in template.steps:
        found.update(_flat(f"template.steps.{step.name}", _fields(step, "name")))
    return {**found, **_flat("template", _fields(template, "steps"))}


def _fields(part: JobTemplate | Step | Each | Resources, *but: str) -> dict[str, Any]:
    return {each.name: getattr(part, each.name) for each in fields(part) if each.name not in but}


def _flat(path: str, value: Any) -> dict[str, Any]:
    """A value by dotted path, down to what is no mapping; an empty mapping is left out."""
    if isinstance(value, Resources):
        value = {**_fields(value), "licences": dict(value.licences)}
    elif isinstance(value, Each):
        value = _fields(value)
    elif path == "template.retry":
        value = {str(at): rule_to_json(rule) for at, rule in enumerate(value, 1)}
    if isinstance(value, Mapping):
        return {name: end for key, inner in value.items() for name, end in _flat(f"{path}.{key}", inner).items()}
    return {path: list(value) if isinstance(value, tuple) else value}


def _modified(one: Attempt) -> dict[str, Any]:
    """What a rerun set: parameters and variables by name, each as a whole."""
    found: dict[str, Any] = {}
    for kind, value in json.loads(one.overrides or "{}").items():
        if kind in ("params", "env"):
            found.update({f"modified.{kind}.{name}": inner for name, inner in value.items()})
        else:
            found[f"modified.{kind}"] = value
    return found


def _course(one: Attempt) -> dict[str, Any]:
    return {
        "start_step": one.start_step,
        "builds_on": one.builds_on,
        "partial": one.partial,
        "host": one.host,
        **_ending(one),
        "seconds": _seconds(one),
        "cpu_seconds": one.cpu_seconds,
        "max_rss_bytes": one.max_rss_bytes,
    }


def _ending(one: Attempt | StepOutcome) -> dict[str, Any]:
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


def _values(one: Around) -> dict[str, Any]:
    found = {f"params.{name}": value for name, value in one.params.items()}
    return found | {f"matrix.{name}": value for name, value in one.matrix.items()}


Sides = tuple[dict[str, Any], dict[str, Any]]


def _surroundings(a: Around, b: Around) -> Sides:
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    if a.resources is not None and b.resources is not None:
        one |= _flat("resources", a.resources)
        other |= _flat("resources", b.resources)
    if a.code is not None and b.code is not None:
        for side, code, values in zip((one, other), (a.code, b.code), code_values(a.code, b.code), strict=True):
            side |= {f"code.{name}": digest for name, digest in values.items()}
            side |= {f"environment.{kind}.{name}": value for (kind, name), value in environment_of(code).items()}
    if a.prints is not None and b.prints is not None:
        for side, prints in ((one, a.prints), (other, b.prints)):
            side |= {f"inputs.{content.name}": content.digest for content in prints.inputs if not content.implicit}
            named = (content for content in prints.inputs if content.implicit and content.compared)
            side |= {f"{NAMED}{content.name}": content.digest for content in named}
            side |= {f"environment.{name}": digest for name, digest in prints.env.items()}
    one |= {f"needs.{job}": came for job, came in a.needed.items()}
    other |= {f"needs.{job}": came for job, came in b.needed.items()}
    return one, other


def _outputs(a: Around, b: Around) -> Sides:
    """What outputs held, where both have completed."""
    one, other = (side.prints.outputs if side.prints else () for side in (a, b))
    if not (one and other):
        return {}, {}
    told = [{f"outputs.{content.name}": content.digest for content in side} for side in (one, other)]
    return told[0], told[1]


def _results(a: Attempt, b: Attempt) -> Sides:
    one, other = (json.loads(attempt.result) if attempt.result else None for attempt in (a, b))
    found: Sides = ({}, {})
    _part("result", one, other, found)
    return found


def _part(path: str, a: Any, b: Any, found: Sides) -> None:
    """The paths at which two values part: those within them while both are objects, or lists of the same length."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            _part(f"{path}.{key}", a.get(key), b.get(key), found)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for at, (one, other) in enumerate(zip(a, b, strict=True)):
            _part(f"{path}[{at}]", one, other, found)
    else:
        found[0][path], found[1][path] = a, b


def _steps(one: Attempt) -> dict[str, Any]:
    return {
        f"steps.{step.name}.{name}": value
        for step in one.steps
        for name, value in {**_ending(step), "seconds": _seconds(step), "kept_from": step.kept_from}.items()
    }
