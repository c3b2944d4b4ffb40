"""Read what a job does: `run`, `call`, or a list of `steps`, each with an optional fan-out (`each`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rekindle.domain.definition import Each, Step, normalize_name
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.subtasks import first_duplicate, item_text
from rekindle.domain.texts.commandline import compile_command
from rekindle.domain.texts.function_source import check_source, is_source
from rekindle.spec.matrix import read_range
from rekindle.spec.nodes import ListNode, MappingNode, Node, Problems, ScalarNode, SourcePlace, describe
from rekindle.spec.references import KnownNames, check_references, check_text
from rekindle.spec.values import STEP_NAME, check_keys, data, plain_text, table, text, texts_within, whole_number

FAN_OUT_KEYS = ("each", "max_failed", "resubmit", "parallel")
SINGLE = "run"
"""The name of the only step of a job without `steps`."""

_STEP_KEYS = ("name", "run", "call", "args", "shell", *FAN_OUT_KEYS)
_EACH_KEYS = ("run", "call", "args", "shell", "range")
_WORK_HINT = "as in `run: python train.py`, `call: mypkg.metrics:score` or `steps: [{name: train, run: …}]`"


def read_steps(
    name: str, place: SourcePlace, job: MappingNode, shell: str | None, known: KnownNames, problems: Problems
) -> tuple[Step, ...]:
    """Return the checked steps of a job. Invalid steps are left out."""
    given = [key for key in ("run", "call", "steps") if key in job.entries]
    if len(given) != 1:
        problem = f"has {' and '.join(f'`{key}`' for key in given)}" if given else "has nothing to do"
        problems.add(place, f"the job {name!r} {problem}", "it takes one of them" if given else _WORK_HINT)
        return ()
    if given != ["steps"]:
        step = _work(SINGLE, job, shell, known, problems)
        return (step,) if step else ()
    if "args" in job.entries:
        problems.add(job.entries["args"].place, "`args` belongs to a step with `call`", "move it into the step")
    for key in FAN_OUT_KEYS:
        if key in job.entries:
            problems.add(job.entries[key].place, f"`{key}` belongs to a step", "move it into the step")
    own = plain_text(job.get("shell"), "`shell`", problems)
    return _list(job.entries["steps"].node, own or shell, known, problems)


def _list(node: Node, shell: str | None, known: KnownNames, problems: Problems) -> tuple[Step, ...]:
    if not isinstance(node, ListNode) or not node.items:
        problems.add(node.place, f"`steps` must be a list of steps, and is {describe(node)}", _WORK_HINT)
        return ()
    tables = [table(item, "a step", problems) for item in node.items]
    names = [_name(item, problems) if item else None for item in tables]
    steps = []
    seen: dict[str, SourcePlace] = {}
    for position, (item, name) in enumerate(zip(tables, names, strict=True)):
        if item is None:
            continue
        check_keys(item, _STEP_KEYS, "a step", problems)
        if name in seen:
            problems.add(
                item.entries["name"].place, f"two steps are named {name!r}", "steps of a job have different names"
            )
        later = [other for other in names[position:] if other and other not in seen]
        here = msgspec.structs.replace(known, steps=tuple(seen), later_steps=later)
        step = _step(name or "", item, shell, here, problems)
        if name:
            seen[name] = item.place
        if step:
            steps.append(step)
    return tuple(steps)


def _name(step: MappingNode, problems: Problems) -> str | None:
    if "name" not in step.entries:
        problems.add(step.place, "a step has no name", "as in `- {name: train, run: python train.py}`")
        return None
    name = text(step.get("name"), "the name of a step", problems)
    name = name and normalize_name(name)
    if name is not None and not STEP_NAME.matches(name):
        problems.add(step.entries["name"].node.place, f"{name!r:.60} cannot be the name of a step", STEP_NAME.rule)
        return None
    return name


def _step(name: str, step: MappingNode, shell: str | None, known: KnownNames, problems: Problems) -> Step | None:
    given = [key for key in ("run", "call") if key in step.entries]
    if len(given) == 1:
        return _work(name, step, shell, known, problems)
    problem = "has `run` and `call`" if given else "has neither `run` nor `call`"
    problems.add(step.place, f"the step {name!r} {problem}", "a step does one thing")
    return None


def _work(name: str, found: MappingNode, shell: str | None, known: KnownNames, problems: Problems) -> Step | None:
    """Read a step with exactly one of `run` and `call`, and its fan-out."""
    each = read_each(found, shell, known, problems)
    step = _once(name, found, shell, msgspec.structs.replace(known, item="each" in found.entries), problems)
    return step if step is None or each is None else msgspec.structs.replace(step, each=each)


def _once(name: str, found: MappingNode, shell: str | None, known: KnownNames, problems: Problems) -> Step | None:
    if "run" in found.entries:
        if "args" in found.entries:
            problems.add(found.entries["args"].place, "`args` belongs to `call`", "write a command's words into `run`")
        return read_command(name, found, shell, known, problems)
    return read_call(name, found, known, problems)


_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALLABLE = re.compile(rf"{_DOTTED}:{_DOTTED}")
MAX_COMMAND_LENGTH = 2 * 1024 * 1024
"""Characters of a command. Linux allows a quarter of the stack limit, 2 MiB by default (execve(2))."""

_CALL_HINT = "as in `call: mypkg.metrics:score`"


def read_call(name: str, found: MappingNode, known: KnownNames, problems: Problems) -> Step | None:
    """Read a step with `call`."""
    if "shell" in found.entries:
        problems.add(found.entries["shell"].place, "`shell` belongs to `run`", "a call needs no shell")
    node = found.entries["call"].node
    call = _call_text(node, problems)
    args = _args(found.get("args"), known, problems)
    if call is None:
        return None
    if is_source(call):
        try:
            check_source(call)
        except BadValue as error:
            problems.add(node.place, error.message, error.hint)
            return None
    elif not _CALLABLE.fullmatch(call):
        problems.add(node.place, f"{call!r:.60} is not a module and a function", _CALL_HINT)
        return None
    return Step(name, call=call, args=args)


def _call_text(node: Node, problems: Problems) -> str | None:
    """Return `module:function`, or the source of a function. In a source, `${…}` is plain text."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and is_source(node.value):
        return node.value
    return plain_text(node, "`call`", problems)


def read_command(
    name: str, found: MappingNode, shell: str | None, known: KnownNames, problems: Problems
) -> Step | None:
    """Read a step with `run`."""
    node = found.entries["run"].node
    own = plain_text(found.get("shell"), "`shell`", problems)
    run: str | tuple[str, ...] | None
    if isinstance(node, ListNode):
        run, used = _argument_vector(node, problems), None
        if own is not None:
            problems.add(found.entries["shell"].place, "`shell` has no effect on a list", "write `run` as one text")
    else:
        run, used = text(node, "`run`", problems), own or shell
    if run is None:
        return None
    size = len(run) if isinstance(run, str) else sum(map(len, run))
    if size > MAX_COMMAND_LENGTH:
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


def _argument_vector(node: ListNode, problems: Problems) -> tuple[str, ...] | None:
    """Return the words of an argument vector. The value of any scalar is its text as written."""
    words = []
    for item in node.items:
        if not isinstance(item, ScalarNode) or item.value is None or "\0" in item.text:
            problems.add(item.place, f"a word of `run` must be a text, and is {describe(item)}", "quote it")
            return None
        words.append(item.text)
    if not words or not words[0]:
        problems.add(node.place, "`run` names no program", 'as in `run: [python, train.py, "--alpha", "0.1"]`')
        return None
    return tuple(words)


def _args(node: Node | None, known: KnownNames, problems: Problems) -> Mapping[str, Any]:
    """Return the keyword arguments: plain data whose texts may contain `${…}`."""
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


_FAN_OUT_OPTIONS = FAN_OUT_KEYS[1:]
_HINT = (
    'as in `each: "slices/*.png"`, `each: [a, b]`, `each: {range: [0, 10]}`, `each: {call: "mypkg.cuts:names"}` '
    "or `each: {run: ls slices}`"
)


def read_each(step: MappingNode, shell: str | None, known: KnownNames, problems: Problems) -> Each | None:
    """Return the fan-out of a step, or None if it has none or an invalid one (then a problem is reported)."""
    if "each" not in step.entries:
        for key in _FAN_OUT_OPTIONS:
            if key in step.entries:
                problems.add(step.entries[key].place, f"`{key}` belongs to `each`", "add `each`, or leave it out")
        return None
    source = _source(step.entries["each"].node, shell, known, problems)
    max_failed = whole_number(step.get("max_failed"), "`max_failed`", problems, 0)
    resubmit = whole_number(step.get("resubmit"), "`resubmit`", problems, 0)
    parallel = whole_number(step.get("parallel"), "`parallel`", problems, 1)
    if source is None:
        return None
    return Each(
        source.glob,
        source.items,
        source.run,
        source.shell,
        source.call,
        source.args,
        max_failed=max_failed or 0,
        resubmit=resubmit or 0,
        parallel=parallel,
    )


def _source(node: Node, shell: str | None, known: KnownNames, problems: Problems) -> Each | None:
    if isinstance(node, MappingNode):
        return _produced(node, shell, known, problems)
    if isinstance(node, ListNode):
        return _listed(node, known, problems)
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        problems.add(node.place, f"`each` must be a pattern, a list or a mapping, and is {describe(node)}", _HINT)
        return None
    pattern = text(node, "`each`", problems)
    if pattern is None:
        return None
    check_text(pattern, node.place, known, problems)
    return Each(glob=pattern)


def _listed(node: ListNode, known: KnownNames, problems: Problems) -> Each | None:
    for written, place in texts_within(node):
        check_text(written, place, known, problems)
    items = data(node, "an item of `each`", problems)
    if None in items:
        problems.add(node.place, "an item of `each` is empty", "quote it to have an empty text")
        return None
    duplicate = first_duplicate([item_text(item) for item in items])
    if duplicate is not None:
        problems.add(node.place, f"the item {duplicate:.80} is there twice", "each item of a fan-out is there once")
        return None
    return Each(items=tuple(items))


def _produced(node: MappingNode, shell: str | None, known: KnownNames, problems: Problems) -> Each | None:
    """Read items that a command prints or a call returns, or the numbers of a range."""
    if "range" in node.entries:
        numbers = read_range("of `each`", node, known.params, problems)
        return Each(items=tuple(numbers)) if numbers else None
    check_keys(node, _EACH_KEYS, "`each`", problems)
    given = [key for key in ("run", "call") if key in node.entries]
    if len(given) != 1:
        problems.add(node.place, f"`each` has {'`run` and `call`' if given else 'neither `run` nor `call`'}", _HINT)
        return None
    if given == ["run"]:
        if "args" in node.entries:
            problems.add(node.entries["args"].place, "`args` belongs to `call`", "write a command's words into `run`")
        command = read_command("each", node, shell, known, problems)
        return None if command is None else Each(run=command.run, shell=command.shell)
    call = read_call("each", node, known, problems)
    return None if call is None else Each(call=call.call, args=call.args)
