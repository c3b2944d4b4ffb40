"""References in a template's texts to things outside the store: functions, outer variables, and files in commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import RekindleError, UnknownWord
from rekindle.domain.texts.commandline import compile_command
from rekindle.domain.texts.namedfiles import NamedFile, named_files
from rekindle.domain.texts.shellscripts import LATER, variables_named
from rekindle.domain.texts.substitution import find_references

if TYPE_CHECKING:
    from rekindle.domain.definition import Each, Step


def functions_called(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the functions ("module:function") that steps call, also to find items; sorted, without duplicates.

    Functions of rekindle itself, which run the steps of other systems, are left out: their code is not a part of the
    workflow, and a new version of rekindle makes no job stale."""
    calls = [name for step in steps for name in (step.call, step.each.call if step.each else None)]
    return tuple(sorted({name for name in calls if name is not None and not name.startswith("rekindle.")}))


def outer_variables(steps: Sequence[Step], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables that `${env.X}` takes from outside: those in the texts of `env`, and those in the steps that
    `env` does not set; sorted, without duplicates. An invalid text has none."""
    around = {name for text in env.values() for name in _variables(text)}
    around.update(name for step in steps for text in _texts(step) for name in _variables(text) if name not in env)
    return tuple(sorted(around))


def files_in_commands(
    steps: Sequence[Step],
    scope: Mapping[str, Any],
    environment: Mapping[str, str],
    items: Callable[[Each], Sequence[str] | None],
    search: str = "",
) -> list[NamedFile]:
    """Return the files that the commands of steps may name; a command that cannot run names none.

    `environment` is the environment of the commands. `items` returns the known items of a fan-out as JSON texts; it is
    called only if an item decides which program runs. `search`: see `named_files`."""
    found: list[NamedFile] = []

    def add(run: str | tuple[str, ...] | None, shell: str | None, scope: Mapping[str, Any]) -> tuple[NamedFile, ...]:
        if run is None:
            return ()
        try:
            words, variables = compile_command(run, shell).words(scope, LATER)
        except RekindleError:
            return ()
        named = named_files(words, {**environment, **variables}, search, first=not found and step is steps[0])
        found.extend(one for one in named if LATER not in one.word)
        return named

    for step in steps:
        if step.each is not None:
            add(step.each.run, step.each.shell, scope)
        named = add(step.run, step.shell, scope)
        if step.each is not None and any(one.role == "program" and LATER in one.word for one in named):
            for item in _known_items(step.each, items):
                add(step.run, step.shell, {**scope, "item": json.loads(item)})
    return list(dict.fromkeys(found))


def commands_are_fixed(steps: Sequence[Step]) -> bool:
    """Return whether the words of all commands are the same for each attempt: they hold neither references nor
    variables."""
    for step in steps:
        try:
            line = None if step.run is None else compile_command(step.run, step.shell)
        except RekindleError:
            return False
        if step.each is not None or (
            line is not None and (line.references or any(map(variables_named, line.words({})[0])))
        ):
            return False
    return True


def _known_items(each: Each, items: Callable[[Each], Sequence[str] | None]) -> Sequence[str]:
    try:
        return items(each) or ()
    except RekindleError:  # the step reports the error
        return ()


def step_texts(step: Step) -> tuple[str, ...]:
    """Return every text of a step in which `${…}` may occur."""
    return tuple(_texts(step))


def names_used(steps: Sequence[Step], scope: str) -> frozenset[str]:
    """Return the names that the texts of steps take from a scope, such as `inputs`; an invalid text takes none."""
    return frozenset(name for step in steps for text in _texts(step) for name in _names(text, scope))


def _texts(step: Step) -> Iterator[str]:
    yield from _texts_within((step.run, step.args))
    if step.each is not None:
        yield from _texts_within((step.each.glob, step.each.items, step.each.run, step.each.args))


def _texts_within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts_within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_within(inner)


def _variables(text: str) -> list[str]:
    return _names(text, "env")


def _names(text: str, scope: str) -> list[str]:
    try:
        found = find_references(text)
    except UnknownWord:
        return []
    return [one.path[0] for one in found if one.scope == scope]
