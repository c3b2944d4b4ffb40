"""A command or a call, as a step has it, and as what finds a fan-out's items."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rekindle.domain.definition import Step
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.commandline import compile_command
from rekindle.spec.nodes import Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Problems
from rekindle.spec.references import Known, check_references, check_text
from rekindle.spec.values import data, plain_text, table, text, texts_within

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALLABLE = re.compile(rf"{_DOTTED}:{_DOTTED}")
LONGEST = 2 * 1024 * 1024
"""Characters of a command. Linux allows a quarter of the stack limit, 2 MiB by default (execve(2))."""

_CALL_HINT = "as in `call: mypkg.metrics:score`"


def read_call(name: str, found: Table, known: Known, problems: Problems) -> Step | None:
    """What has `call`."""
    if "shell" in found.entries:
        problems.add(found.entries["shell"].place, "`shell` belongs to `run`", "a call needs no shell")
    node = found.entries["call"].node
    call = plain_text(node, "`call`", problems)
    args = _args(found.get("args"), known, problems)
    if call is None:
        return None
    if not _CALLABLE.fullmatch(call):
        problems.add(node.place, f"{call!r:.60} is not a module and a function", _CALL_HINT)
        return None
    return Step(name, call=call, args=args)


def read_command(name: str, found: Table, shell: str | None, known: Known, problems: Problems) -> Step | None:
    """What has `run`."""
    node = found.entries["run"].node
    own = plain_text(found.get("shell"), "`shell`", problems)
    run: str | tuple[str, ...] | None
    if isinstance(node, Items):
        run, used = _vector(node, problems), None
        if own is not None:
            problems.add(found.entries["shell"].place, "`shell` has no effect on a list", "write `run` as one text")
    else:
        run, used = text(node, "`run`", problems), own or shell
    if run is None:
        return None
    size = len(run) if isinstance(run, str) else sum(map(len, run))
    if size > LONGEST:
        message = f"`run` has {size:,} characters: the system starts no command that long"
        problems.add(node.place, message, "put it into a script, and run that")
        return None
    try:
        command = compile_command(run, used)
    except RekindleError as error:
        problems.add(node.place, error.message, error.hint)
        return None
    check_references(command.references, node.place, known, problems)
    return Step(name, run=run, shell=used)


def _vector(node: Items, problems: Problems) -> tuple[str, ...] | None:
    """The words of an argument vector: any scalar is its text, as it is written."""
    words = []
    for item in node.items:
        if not isinstance(item, Scalar) or item.value is None or "\0" in item.text:
            problems.add(item.place, f"a word of `run` must be a text, and is {describe(item)}", "quote it")
            return None
        words.append(item.text)
    if not words or not words[0]:
        problems.add(node.place, "`run` names no program", 'as in `run: [python, train.py, "--alpha", "0.1"]`')
        return None
    return tuple(words)


def _args(node: Node | None, known: Known, problems: Problems) -> Mapping[str, Any]:
    """Keyword arguments: plain data, in whose texts `${…}` may stand."""
    found = table(node, "`args`", problems)
    if found is None:
        return {}
    for key, entry in found.entries.items():
        if not key.isidentifier():
            problems.add(entry.place, f"{key!r:.60} cannot be the name of an argument", "args are passed as keywords")
    for written, place in texts_within(found):
        check_text(written, place, known, problems)
    values: dict[str, Any] = data(found, "an argument", problems)
    return values
