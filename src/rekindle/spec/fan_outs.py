"""`each:` of a step: where its items come from, and how they are gone about."""

from __future__ import annotations

from rekindle.domain.definition import Each
from rekindle.domain.subtasks import item_text, repeated
from rekindle.spec.matrix import read_range
from rekindle.spec.nodes import Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Problems
from rekindle.spec.references import Known, check_text
from rekindle.spec.values import check_keys, data, text, texts_within, whole_number
from rekindle.spec.work import read_call, read_command

FAN_OUT_KEYS = ("each", "max_failed", "resubmit", "parallel")
_BESIDE = FAN_OUT_KEYS[1:]
_HINT = (
    'as in `each: "slices/*.png"`, `each: [a, b]`, `each: {range: [0, 10]}`, `each: {call: "mypkg.cuts:names"}` '
    "or `each: {run: ls slices}`"
)


def read_each(step: Table, shell: str | None, known: Known, problems: Problems) -> Each | None:
    """The fan-out that a step is; None: it is none, or something in it is wrong, which is told."""
    if "each" not in step.entries:
        for key in _BESIDE:
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


def _source(node: Node, shell: str | None, known: Known, problems: Problems) -> Each | None:
    if isinstance(node, Table):
        return _found(node, shell, known, problems)
    if isinstance(node, Items):
        return _listed(node, known, problems)
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        problems.add(node.place, f"`each` must be a pattern, a list or a mapping, and is {describe(node)}", _HINT)
        return None
    pattern = text(node, "`each`", problems)
    if pattern is None:
        return None
    check_text(pattern, node.place, known, problems)
    return Each(glob=pattern)


def _listed(node: Items, known: Known, problems: Problems) -> Each | None:
    for written, place in texts_within(node):
        check_text(written, place, known, problems)
    items = data(node, "an item of `each`", problems)
    if None in items:
        problems.add(node.place, "an item of `each` is empty", "quote it to have an empty text")
        return None
    double = repeated([item_text(item) for item in items])
    if double is not None:
        problems.add(node.place, f"the item {double:.80} is there twice", "each item of a fan-out is there once")
        return None
    return Each(items=tuple(items))


def _found(node: Table, shell: str | None, known: Known, problems: Problems) -> Each | None:
    """Items that a command prints or a call returns, or the numbers of a range."""
    if "range" in node.entries:
        numbers = read_range("of `each`", node, known.params, problems)
        return Each(items=tuple(numbers)) if numbers else None
    check_keys(node, ("run", "call", "args", "shell", "range"), "`each`", problems)
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
