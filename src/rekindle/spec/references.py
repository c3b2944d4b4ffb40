"""Check that every `${…}` of a text refers to a known name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.texts import substitution
from rekindle.domain.texts.display import did_you_mean

if TYPE_CHECKING:
    from rekindle.domain.texts.substitution import Reference
    from rekindle.spec.nodes import Problems, SourcePlace

_JOB_FACTS = ("name",)
_FACTS_OF_ATTEMPTS = ("id", "workflow", "attempt")
"""Known when an attempt starts. Only `env:` is always rendered that late."""


class KnownNames(msgspec.Struct, frozen=True):
    """The names that the texts of one job can refer to. A scope that is None is not available."""

    params: Mapping[str, Any]
    matrix: Collection[str] = ()
    inputs: Collection[str] | None = None
    outputs: Collection[str] | None = None
    job: bool = True
    env: bool = False
    steps: Collection[str] | None = None  # names of earlier steps
    later_steps: Collection[str] = msgspec.field(default=())  # for messages only
    item: bool = False


def check_text(text: str, place: SourcePlace, known: KnownNames, problems: Problems) -> tuple[Reference, ...]:
    """Return the references of a text. Report each unknown reference."""
    try:
        found = substitution.find_references(text)
    except RekindleError as error:
        problems.add(place, error.message, error.hint)
        return ()
    check_references(found, place, known, problems)
    return found


def check_references(found: Collection[Reference], place: SourcePlace, known: KnownNames, problems: Problems) -> None:
    """Report each unknown reference at `place`."""
    for reference in found:
        wrong = _CHECKS[reference.scope](reference, known)
        if wrong:
            problems.add(place, f"{reference.text}: {wrong[0]}", wrong[1])


_Finding = tuple[str, str] | None


def _params(reference: Reference, known: KnownNames) -> _Finding:
    wrong = _name(reference, "parameter", known.params, "params")
    if wrong:
        return wrong
    try:
        substitution.lookup_reference(reference, {"params": known.params})
    except RekindleError as error:
        return error.message.removeprefix(f"{reference.text}: "), error.hint
    return None


def _matrix(reference: Reference, known: KnownNames) -> _Finding:
    return _name(reference, "matrix value", known.matrix, "matrix") or _no_deeper(reference)


def _inputs(reference: Reference, known: KnownNames) -> _Finding:
    if known.inputs is None:
        return "inputs cannot be used here", _ONLY_EARLY
    return _name(reference, "input", known.inputs, "inputs") or _no_deeper(reference)


def _outputs(reference: Reference, known: KnownNames) -> _Finding:
    if known.outputs is None:
        return "outputs cannot be used here", _ONLY_EARLY
    return _name(reference, "output", known.outputs, "outputs") or _no_deeper(reference)


def _env(reference: Reference, known: KnownNames) -> _Finding:
    if not known.env:
        return "variables cannot be used here", _ONLY_EARLY
    return _no_deeper(reference)


def _job(reference: Reference, known: KnownNames) -> _Finding:
    if not known.job:
        return "no job is there yet", "only ${params.…} can be used here"
    in_env = known.env and known.inputs is None
    if not in_env and reference.path[0] in _FACTS_OF_ATTEMPTS:
        return "is known only when an attempt starts", "give it to a variable with `env`, and use that"
    facts = (*_JOB_FACTS, *_FACTS_OF_ATTEMPTS) if in_env else _JOB_FACTS
    return _name(reference, "fact of a job", facts, "job") or _no_deeper(reference)


def _steps(reference: Reference, known: KnownNames) -> _Finding:
    if known.steps is None:
        return "results of steps cannot be used here", "only the commands and args of later steps know them"
    name = reference.path[0]
    if name in known.later_steps:
        return f"the step {name!r} does not come before this one", did_you_mean("", known.steps)
    wrong = _name(reference, "earlier step", known.steps, "steps")
    if wrong:
        return wrong
    if len(reference.path) < 2 or reference.path[1] != "result":
        return "of a step only its result can be used", f"${{steps.{name}.result}} or ${{steps.{name}.result.KEY}}"
    return None


def _item(_: Reference, known: KnownNames) -> _Finding:
    return None if known.item else ("only a fan-out step has items", "`each:` makes one of a step")


_ONLY_EARLY = "paths, needs and variables are rendered early: they can use params, matrix and job.name"

_CHECKS = {
    "params": _params,
    "matrix": _matrix,
    "inputs": _inputs,
    "outputs": _outputs,
    "env": _env,
    "job": _job,
    "steps": _steps,
    "item": _item,
}


def _name(reference: Reference, what: str, names: Collection[str], scope: str) -> _Finding:
    name = reference.path[0]
    if name in names:
        return None
    hint = did_you_mean(name, names)
    return f"there is no {what} {name!r}", hint or f"nothing is declared in `{scope}`"


def _no_deeper(reference: Reference) -> _Finding:
    if len(reference.path) == 1:
        return None
    first = "${" + f"{reference.scope}.{reference.path[0]}" + "}"
    return f"{first} is one value and holds nothing named {'.'.join(reference.path[1:])!r}", f"write {first}"
