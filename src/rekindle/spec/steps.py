"""What a job does: `run`, `call`, or a list of `steps`."""

from __future__ import annotations

import dataclasses

from rekindle.domain.definition import Step
from rekindle.domain.texts.jobnames import composed
from rekindle.spec.fan_outs import FAN_OUT_KEYS, read_each
from rekindle.spec.nodes import Items, Node, Table, describe
from rekindle.spec.problems import Place, Problems
from rekindle.spec.references import Known
from rekindle.spec.values import STEP_NAME, check_keys, plain_text, table, text
from rekindle.spec.work import read_call, read_command

SINGLE = "run"
"""The name of the one step of a job that has no list of them."""

_STEP_KEYS = ("name", "run", "call", "args", "shell", *FAN_OUT_KEYS)
_WORK_KEYS = ("run", "call", "args", "steps")
_WORK_HINT = "as in `run: python train.py`, `call: mypkg.metrics:score` or `steps: [{name: train, run: …}]`"


def read_steps(
    name: str, place: Place, job: Table, shell: str | None, known: Known, problems: Problems
) -> tuple[Step, ...]:
    """The steps of a job, checked; those that cannot be read are left out."""
    given = [key for key in ("run", "call", "steps") if key in job.entries]
    if len(given) != 1:
        told = f"has {' and '.join(f'`{key}`' for key in given)}" if given else "has nothing to do"
        problems.add(place, f"the job {name!r} {told}", "it takes one of them" if given else _WORK_HINT)
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
        here = dataclasses.replace(known, steps=tuple(seen), later_steps=later)
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
    name = name and composed(name)
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
    """What has exactly one of `run` and `call`, and is done once, or for each item."""
    each = read_each(found, shell, known, problems)
    step = _once(name, found, shell, dataclasses.replace(known, item="each" in found.entries), problems)
    return step if step is None or each is None else dataclasses.replace(step, each=each)


def _once(name: str, found: Table, shell: str | None, known: Known, problems: Problems) -> Step | None:
    if "run" in found.entries:
        if "args" in found.entries:
            problems.add(found.entries["args"].place, "`args` belongs to `call`", "write a command's words into `run`")
        return read_command(name, found, shell, known, problems)
    return read_call(name, found, known, problems)
