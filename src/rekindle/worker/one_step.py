"""One step of an attempt, in the foreground: `python -P -m rekindle.worker.one_step describe|call|pdb FILE`.

FILE holds the step's orders (StepOrders). `describe` prints its command, working directory and variables as one JSON
document and starts nothing. `call` calls the step's function and prints its result, and `pdb` does so in the debugger:
it stops in the first line of the function, and where an exception ends it."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.substitution import render_value
from rekindle.files.store_files import make_folder
from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.worker.attempt_environment import (
    AttemptEnvironment,
    base_environment,
    build_environment,
    set_inputs,
    subtask_environment,
)
from rekindle.worker.call_protocol import SubtaskRun
from rekindle.worker.command_steps import argument_vector, set_step_variables
from rekindle.worker.function_calls import CallResult, Context, FunctionCache, call_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from rekindle.domain.definition import Step

FAILED = 2
"""The exit code of a call that failed."""


class StepOrders(msgspec.Struct, frozen=True):
    """A step of an attempt. `subtask`: (index, item as JSON text, folder) of a fan-out's item."""

    task: TaskTemplate
    assignment: Assignment
    position: int
    file: str  # of these orders
    subtask: tuple[int, str, str] | None = None

    @property
    def step(self) -> Step:
        """The step."""
        return self.task.steps[self.position]


class StepCommand(msgspec.Struct, frozen=True):
    """How a step is started: what `describe` prints."""

    argv: list[str]
    directory: str
    variables: dict[str, str]  # those of the attempt
    environment: dict[str, str]  # all


_ORDERS = json_reader(StepOrders)


def main(arguments: list[str]) -> int:
    """Describe or run a step. Return the exit code."""
    mode, path = arguments
    with open(path, "rb") as file:
        orders: StepOrders = _ORDERS(file.read())
    try:
        env, assignment = _environment(orders)
        if mode == "describe":
            sys.stdout.write(to_json(_describe(orders, env)).decode() + "\n")
            return 0
        return _call(orders, env, assignment, debug=mode == "pdb")
    except RekindleError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _environment(orders: StepOrders) -> tuple[AttemptEnvironment, Assignment]:
    """Return the environment of the step, as a worker makes it, and the orders of its folder. Make that."""
    assignment = orders.assignment
    env = build_environment(orders.task, assignment, base_environment())
    make_folder(assignment.folder)
    set_inputs(env, assignment)
    if orders.subtask is not None:
        index, item, folder = orders.subtask
        env = subtask_environment(env, SubtaskRun(index, item, folder))
        assignment = msgspec.structs.replace(assignment, folder=folder, own="")
        make_folder(folder)
    set_step_variables(env, orders.step.name, assignment.report_prefix)
    return env, assignment


def _describe(orders: StepOrders, env: AttemptEnvironment) -> StepCommand:
    step = orders.step
    if step.call is not None:
        argv = [sys.executable, "-P", "-m", "rekindle.worker.one_step", "call", orders.file]
    else:
        argv = argument_vector(step, env)[1]
    return StepCommand(argv, env.directory, env.variables, env.environment)


def _call(orders: StepOrders, env: AttemptEnvironment, assignment: Assignment, *, debug: bool) -> int:
    """Call the function of the step. Return 0, or FAILED if it failed."""
    step = orders.step
    os.environ.clear()
    os.environ.update(env.environment)
    os.chdir(env.directory)
    sys.argv = [""]
    sys.path.insert(0, orders.task.directory)
    found = FunctionCache().find(step.call or "")
    if isinstance(found, CallResult):
        return _report(found)
    function, takes_context = found
    arguments: dict[str, Any] = render_value(step.args, env.scope)
    if takes_context and "ctx" not in arguments:
        item = env.scope.get("item")
        arguments["ctx"] = Context(orders.task, assignment, step.name, env.scope["params"], item)
    return _debug(function, arguments) if debug else _report(call_function(function, arguments))


def _debug(function: Callable[..., Any], arguments: dict[str, Any]) -> int:
    """Call a function in the debugger; after an exception, go on in the frame that raised it."""
    import pdb

    class Debugger(pdb.Pdb):
        left = False

        def set_quit(self) -> None:
            self.left = True
            super().set_quit()

    debugger = Debugger()
    try:
        value = debugger.runcall(function, **arguments)
    except Exception as error:  # noqa: BLE001 - the user's function raised it
        traceback.print_exc()
        print("The function raised an exception: post-mortem, `q` quits.", flush=True)
        pdb.post_mortem(error.__traceback__)
        return FAILED
    print("The debugger was left." if debugger.left else f"The function returned {value!r}", flush=True)
    return 0


def _report(found: CallResult) -> int:
    if found.cause is None:
        if found.result is not None:
            sys.stdout.write(f"{found.result}\n")
        return 0
    if found.failure is not None:
        sys.stderr.write(f"{found.failure.traceback or found.failure.message}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
