"""What a job does: `run`, `call`, or a list of `steps`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from rekindle.domain.commandline import compile_command
from rekindle.domain.definition import Step
from rekindle.domain.errors import RekindleError
from rekindle.spec.nodes import Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Place, Problems
from rekindle.spec.references import Known, check_references, check_text
from rekindle.spec.values import (
    STEP_NAME,
    check_keys,
    data,
    plain_text,
    table,
    text,
    texts_within,
)

SINGLE = "run"
"""The name of the one step of a job that has no list of them."""

_STEP_KEYS = ("name", "run", "call", "args", "shell")
_WORK_KEYS = ("run", "call", "args", "steps")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALLABLE = re.compile(rf"{_DOTTED}:{_DOTTED}")
_CALL_HINT = "as in `call: mypkg.metrics:score`"
_WORK_HINT = "as in `run: python train.py`, `call: mypkg.metrics:score` or `steps: [{name: train, run: …}]`"


def read_steps(
    name: str, place: Place, job: Table, shell: str | None, known: Known, problems: Problems
) -> tuple[Step, ...]:
    """The steps of a job, checked; those that cannot be read are left out."""
    given = [key for key in ("run", "call", "steps") if key in job.entries]
    if len(given) != 1:
        told = f"has {' and '.join(f'`{key}`' for key in given)}" if given else "has nothing to do"
        if given or not _is_fan_out(job):
            problems.add(place, f"the job {name!r} {told}", "it takes one of them" if given else _WORK_HINT)
        return ()
    if given != ["steps"]:
        step = _work(SINGLE, job, shell, known, problems)
        return (step,) if step else ()
    if "args" in job.entries:
        problems.add(job.entries["args"].place, "`args` belongs to a step with `call`", "move it into the step")
    own = plain_text(job.get("shell"), "`shell`", problems)
    return _list(job.entries["steps"].node, own or shell, known, problems)


def _is_fan_out(found: Table) -> bool:
    """It has been told that fan-outs are not supported: nothing else need be said of what they lack."""
    return "each" in found.entries


def _list(node: Node, shell: str | None, known: Known, problems: Problems) -> tuple[Step, ...]:
    if not isinstance(node, Items) or not node.items:
        problems.add(node.place, f"`steps` must be a list of steps, and is {describe(node)}", _WORK_HINT)
        return ()
    tables = [table(item, "a step", problems) for item in node.items]
    names = [_name(item, problems) if item else None for item in tables]
    steps = []
    seen: dict[str, Place] = {}
    for position, (item, name) in enumerate(zip(tables, names, strict=True)):
        if item is None:
            continue
        check_keys(item, _STEP_KEYS, "a step", problems)
        if name in seen:
            problems.add(
                item.entries["name"].place, f"two steps are named {name!r}", "steps of a job have different names"
            )
        later = [other for other in names[position:] if other and other not in seen]
        here = dataclasses.replace(known, steps=tuple(seen), later_steps=later, item=_is_fan_out(item))
        step = _step(name or "", item, shell, here, problems)
        if name:
            seen[name] = item.place
        if step:
            steps.append(step)
    return tuple(steps)


def _name(step: Table, problems: Problems) -> str | None:
    if "name" not in step.entries:
        problems.add(step.place, "a step has no name", "as in `- {name: train, run: python train.py}`")
        return None
    name = text(step.get("name"), "the name of a step", problems)
    if name is not None and not STEP_NAME.matches(name):
        problems.add(step.entries["name"].node.place, f"{name!r:.60} cannot be the name of a step", STEP_NAME.rule)
        return None
    return name


def _step(name: str, step: Table, shell: str | None, known: Known, problems: Problems) -> Step | None:
    given = [key for key in ("run", "call") if key in step.entries]
    if len(given) == 1:
        return _work(name, step, shell, known, problems)
    told = "has `run` and `call`" if given else "has neither `run` nor `call`"
    problems.add(step.place, f"the step {name!r} {told}", "a step does one thing")
    return None


def _work(name: str, found: Table, shell: str | None, known: Known, problems: Problems) -> Step | None:
    """What has exactly one of `run` and `call`."""
    if _is_fan_out(found):
        known = dataclasses.replace(known, item=True)
    if "run" in found.entries:
        if "args" in found.entries:
            problems.add(found.entries["args"].place, "`args` belongs to `call`", "write a command's words into `run`")
        return _command(name, found, shell, known, problems)
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


def _command(name: str, found: Table, shell: str | None, known: Known, problems: Problems) -> Step | None:
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
