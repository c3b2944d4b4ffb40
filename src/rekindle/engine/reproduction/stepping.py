"""One step of an attempt in the hands of a person: its command, directory and variables, for a shell, a debugger or a
script."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.domain.states import State
from rekindle.domain.subtasks import known_subtasks
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.engine.reproduction.aside import continued, only_steps_before, run_aside, with_items
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.paths import subtask_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.reproduction.recorded import RecordedAttempt
    from rekindle.engine.reproduction.scratch import Scratch
    from rekindle.journal.orders import Assignment

_PYTHON = lazy_regex(r"python(\d+(\.\d+)*)?")
_DESCRIBE_SECONDS = 60.0


class StepCommand(msgspec.Struct, frozen=True):
    """How a step is started in a scratch folder. `variables`: those of the attempt; `environment`: all. `debugger`: the
    command that runs it in pdb; None: it is no Python."""

    step: str
    argv: list[str]
    directory: str
    variables: dict[str, str]
    environment: dict[str, str]
    debugger: list[str] | None = None

    @property
    def command_line(self) -> str:
        """The command as it is typed in a shell."""
        return shlex.join(self.argv)

    def script(self) -> list[str]:
        """Return the lines of a shell script that starts the step; a shell that they are pasted into stays as it is."""
        lines = [f"cd {shlex.quote(self.directory)} || exit"]
        lines += [f"export {name}={shlex.quote(text)}" for name, text in self.variables.items()]
        return ["(", *lines, self.command_line, ")"]


def choose_step(one: RecordedAttempt, name: str | None, subtask: int | None) -> int:
    """Return the position of a step: the named one, the fan-out of a subtask, or the one that failed; else the first.
    Raise NotFound if there is none."""
    steps = one.body.steps
    if name is not None:
        for at, step in enumerate(steps):
            if step.name == name:
                return at
        names = [step.name for step in steps]
        raise NotFound(
            f"{one.label} has no step {name!r}", hint=did_you_mean(name, names) or f"it has {', '.join(names)}"
        )
    if subtask is not None:
        fan_outs = [at for at, step in enumerate(steps) if step.each is not None]
        if not fan_outs:
            raise NotFound(f"{one.label} has no fan-out, so no subtask {subtask}", hint="leave out --subtask")
        return fan_outs[-1] if len(fan_outs) == 1 else _fan_out_with(one, fan_outs, subtask)
    failed = [step.position for step in one.attempt.steps if step.state is State.FAILED]
    return failed[0] if failed else 0


def _fan_out_with(one: RecordedAttempt, fan_outs: Sequence[int], subtask: int) -> int:
    failed = [at for at in fan_outs if any(each.index == subtask and each.cause for each in one.subtasks[at])]
    return failed[0] if failed else fan_outs[0]


def find_subtask(one: RecordedAttempt, position: int, index: int) -> Subtask:
    """Return an item of a fan-out step. Raise NotFound if there is none, BadValue if the step is no fan-out."""
    step = one.body.steps[position]
    if step.each is None:
        raise BadValue(f"step {step.name} of {one.label} is no fan-out: it has no subtasks", hint="leave out --subtask")
    for each in one.subtasks.get(position, ()):
        if each.index == index:
            return each
    count = len(one.subtasks.get(position, ()))
    raise NotFound(
        f"step {step.name} of {one.label} has no subtask {index}",
        hint=f"they are 0 to {count - 1}" if count else "its items were not found",
    )


def run_steps_before(one: RecordedAttempt, scratch: Scratch, position: int, stop: Callable[[], bool]) -> Assignment:
    """Run the steps before one in the scratch folder. Return the orders that go on there. Refused if one fails."""
    if position == 0:
        return scratch.assignment
    run = run_aside(scratch, only_steps_before(scratch.task, position), scratch.assignment, stop)
    if run.ended.cause is not None:
        failed = run.ended.steps[-1].name if run.ended.steps else one.body.steps[0].name
        raise Refused(
            f"step {failed}, which comes before step {one.body.steps[position].name}, failed: {run.ended.cause}",
            hint=f"--step {failed} begins with it; its logs are in {scratch.folder}",
        )
    return continued(scratch.task, scratch.assignment, run, position)


def recorded_results(one: RecordedAttempt, scratch: Scratch, position: int) -> Assignment:
    """Return the orders of a scratch folder with the recorded results of the steps before one, and of their items."""
    kept = {
        step.name: None if step.result is None else from_json(scratch.document_here(step.result))
        for step in one.attempt.steps
        if step.position < position
    }
    fan_outs = {
        one.body.steps[at].name: known_subtasks(items_here(one, scratch, at))
        for at in one.subtasks
        if at < position and one.body.steps[at].name in kept
    }
    return with_items(msgspec.structs.replace(scratch.assignment, start_step=position, kept=kept), fan_outs)


def items_here(one: RecordedAttempt, scratch: Scratch, position: int) -> list[Subtask]:
    """Return the recorded items of a fan-out step, and their results, with the paths of a scratch folder."""
    here = scratch.document_here
    return [
        msgspec.structs.replace(each, item=here(each.item), result=each.result and here(each.result))
        for each in one.subtasks[position]
    ]


def step_command(
    scratch: Scratch, assignment: Assignment, position: int, subtask: Subtask | None = None
) -> StepCommand:
    """Return how a step is started, as the worker would start it. Refused if it cannot be started."""
    step = scratch.task.steps[position]
    path = f"{scratch.spool}/step-{position}.json"
    item = None
    if subtask is not None:
        folder = subtask_folder(assignment.file_prefix, position, subtask.index)
        item = [subtask.index, scratch.document_here(subtask.item), folder]
    orders: dict[str, Any] = {
        "task": scratch.task,
        "assignment": assignment,
        "position": position,
        "file": path,
        "subtask": item,
    }
    with open(path, "wb") as file:
        file.write(to_json(orders))
    argv = [sys.executable, "-P", "-m", "rekindle.worker.one_step", "describe", path]
    done = subprocess.run(
        argv, env=dict(scratch.environment), capture_output=True, text=True, timeout=_DESCRIBE_SECONDS, check=False
    )
    if done.returncode != 0:
        raise Refused(f"step {step.name} cannot be started: {done.stderr.strip()}", hint=f"its orders are in {path}")
    found = from_json(done.stdout)
    return StepCommand(step.name, **found, debugger=_debugger(found["argv"], is_call=step.call is not None))


def _debugger(argv: list[str], *, is_call: bool) -> list[str] | None:
    """Return the command that runs a Python command in pdb; None if it is none. `python -c` is none: pdb takes
    files."""
    if is_call:
        return ["pdb" if word == "call" and at == len(argv) - 2 else word for at, word in enumerate(argv)]
    if _PYTHON.fullmatch(Path(argv[0]).name) is None:
        return None
    at = 1
    while at < len(argv) and argv[at].startswith("-"):
        if argv[at] == "-m":
            break
        if argv[at] in ("-c", "-"):
            return None
        at += 2 if argv[at] in ("-W", "-X") else 1
    return [*argv[:at], "-m", "pdb", *argv[at:]] if at < len(argv) else None
