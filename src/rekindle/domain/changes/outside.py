"""What a template's texts name that lies outside the archive: functions, and variables that the spec does not set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rekindle.domain.definition import Step
from rekindle.domain.errors import UnknownWord
from rekindle.domain.texts.substitution import references


def functions_called(steps: Sequence[Step]) -> tuple[str, ...]:
    """The functions ("module:name") that steps call, those that find items too; sorted, none twice."""
    calls = [name for step in steps for name in (step.call, step.each.call if step.each else None)]
    return tuple(sorted({name for name in calls if name is not None}))


def outer_variables(steps: Sequence[Step], env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that `${env.X}` takes from around the attempt: those that the texts of `env` name, and those of
    the steps that `env` does not set; sorted, none twice. A text that cannot be read names none."""
    around = {name for text in env.values() for name in _variables(text)}
    around.update(name for step in steps for text in _texts(step) for name in _variables(text) if name not in env)
    return tuple(sorted(around))


def texts_of(step: Step) -> tuple[str, ...]:
    """Every text of a step in which `${…}` may stand."""
    return tuple(_texts(step))


def _texts(step: Step) -> Iterator[str]:
    yield from _within((step.run, step.args))
    if step.each is not None:
        yield from _within((step.each.glob, step.each.items, step.each.run, step.each.args))


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _within(inner)


def _variables(text: str) -> list[str]:
    try:
        found = references(text)
    except UnknownWord:
        return []
    return [one.path[0] for one in found if one.scope == "env"]
