"""Run an attempt's orders in a scratch folder, by a worker of its own whose journal no store reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import ExecutorError
from rekindle.domain.models import StepOutcome
from rekindle.domain.states import State
from rekindle.domain.subtasks import KnownSubtask
from rekindle.engine.fan_outs import fan_out_result
from rekindle.executors.local import LocalExecutor
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.log import read_past_damage
from rekindle.journal.orders import FanOut
from rekindle.journal.records import Ended, FannedOut, Record, StepEnded, Subtasks

if TYPE_CHECKING:
    from rekindle.domain.definition import Each
    from rekindle.domain.subtasks import Subtask, SubtaskEnd
    from rekindle.engine.reproduction.scratch import Scratch
    from rekindle.journal.orders import Assignment, TaskTemplate

_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 10.0


class AsideRun(msgspec.Struct, frozen=True):
    """How orders ended in a scratch folder. `steps`: those before the last one. `subtasks`: ends by index. `items`: by
    position of a fan-out."""

    ended: Ended
    steps: tuple[StepOutcome, ...] = ()
    subtasks: dict[int, SubtaskEnd] = {}
    items: dict[int, list[KnownSubtask]] = {}


def run_aside(scratch: Scratch, task: TaskTemplate, assignment: Assignment, stop: Callable[[], bool]) -> AsideRun:
    """Run orders to their end. Once `stop` returns true, or with KeyboardInterrupt, they are canceled. Raise
    ExecutorError if no worker can be started."""
    executor = LocalExecutor(scratch.spool, environment=scratch.environment)
    grace = task.grace + _CLOSE_SECONDS
    try:
        worker = executor.open()
        executor.assign(worker.name, [task], [assignment])
        records: list[Record] = []
        offset, canceled = 0, False
        while True:
            gone = executor.gone()
            more, offset, _ = read_past_damage(worker.journal, offset)
            records += more
            ended = [one for one in records if isinstance(one, Ended) and one.token == assignment.token]
            if ended:
                return _run(ended[-1], records)
            if gone:
                raise ExecutorError(
                    f"the worker in {scratch.folder} ended before the attempt began",
                    hint="`rekindle doctor` checks whether workers start",
                )
            if not canceled and stop():
                executor.cancel(worker.name, [assignment.token])
                canceled = True
            executor.wait(_POLL_SECONDS)
    except KeyboardInterrupt:
        for one in executor.workers:
            executor.cancel(one, [assignment.token])
        _wait_for_end(executor, grace)
        raise
    finally:
        executor.close(grace)


def _wait_for_end(executor: LocalExecutor, seconds: float) -> None:
    for one in executor.workers:
        executor.retire(one)
    limit = time.monotonic() + seconds
    while executor.workers and time.monotonic() < limit:
        executor.wait(_POLL_SECONDS)
        executor.gone()


def _run(ended: Ended, records: Sequence[Record]) -> AsideRun:
    steps = tuple(one.step for one in records if isinstance(one, StepEnded) and one.token == ended.token)
    ends = [end for one in records if isinstance(one, Subtasks) and one.token == ended.token for end in one.ended]
    return AsideRun(ended, steps, {end.index: end for end in ends}, _items(records, ended.token))


def _items(records: Sequence[Record], token: str) -> dict[int, list[KnownSubtask]]:
    """Return the items of each fan-out that a journal has, with the results of those that completed."""
    found: dict[int, dict[int, KnownSubtask]] = {}
    for one in records:
        if isinstance(one, FannedOut) and one.token == token:
            found[one.step] = {index: KnownSubtask(index, item) for index, item, _ in one.run}
        elif isinstance(one, Subtasks) and one.token == token:
            items = found.get(one.step, {})
            for end in one.ended:
                if end.index in items:
                    complete = end.state is State.COMPLETED
                    items[end.index] = replace(items[end.index], complete=complete, result=end.result)
    return {step: list(known.values()) for step, known in found.items()}


def only_steps_before(task: TaskTemplate, position: int) -> TaskTemplate:
    """Return the orders for the steps before one. Its outputs need not be there then."""
    return replace(task, steps=task.steps[:position], outputs={})


def only_subtask(
    task: TaskTemplate, assignment: Assignment, position: int, known: Sequence[Subtask], index: int
) -> tuple[TaskTemplate, Assignment]:
    """Return the orders for one item of a fan-out step, behind the steps before it. The other items count as done."""
    steps = list(task.steps[: position + 1])
    each: Each | None = steps[position].each
    assert each is not None, "the caller has chosen a fan-out"
    items = tuple(from_json(one.item) for one in known)
    steps[position] = replace(steps[position], each=replace(each, glob=None, run=None, call=None, items=items))
    others = tuple(
        KnownSubtask(one.index, one.item, one.index != index, max(one.attempts - 1, 0), one.result) for one in known
    )
    fan_out = FanOut(position, assignment.attempt, (index,), others)
    return replace(task, steps=tuple(steps), outputs={}), replace(assignment, start_step=position, fan_outs=(fan_out,))


def continued(task: TaskTemplate, assignment: Assignment, run: AsideRun, position: int) -> Assignment:
    """Return the orders that go on at a step after a run of the steps before it."""
    done = (*run.steps, *run.ended.steps)
    kept = {step.name: None if step.result is None else from_json(step.result) for step in done}
    going_on = replace(assignment, start_step=position, kept=kept)
    return with_items(going_on, {task.steps[at].name: items for at, items in run.items.items()})


def with_items(assignment: Assignment, fan_outs: Mapping[str, Sequence[KnownSubtask]]) -> Assignment:
    """Return orders with the items of earlier fan-out steps as later steps see them: as the steps' results, and in
    REKINDLE_INPUTS."""
    if not fan_outs:
        return assignment
    inputs = from_json(assignment.inputs or "{}")
    results = {name: from_json(bytes(fan_out_result(items))) for name, items in fan_outs.items()}
    for name, result in results.items():
        inputs[name] = {**inputs.get(name, {}), **result}
    return replace(assignment, kept={**assignment.kept, **results}, inputs=to_json(inputs).decode())
