"""An executor without processes: a script says how each step of each attempt ends, and real journals tell it."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.changes.prints import Prints
from rekindle.domain.definition import Each
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import State
from rekindle.domain.subtasks import SubtaskEnd, divide, item_text
from rekindle.executors.port import WorkerGone, WorkerInfo
from rekindle.files.modes import make_folder
from rekindle.journal.ledger import Writer
from rekindle.journal.orders import Assignment, FanOut, Recipe
from rekindle.journal.places import journal_path
from rekindle.journal.records import Ended, FannedOut, Returned, Started, StepEnded, Subtasks
from rekindle.testing.clock import FakeClock
from rekindle.testing.crashing import Crash
from rekindle.worker.fingerprints import Fingerprint, Fingerprints
from rekindle.worker.frame import frame_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt goes: the name of the step at which it fails (None: it completes), and why. The cause `lost`
    means that its worker dies there; with `crash` the whole process tree does, the runner too."""

    fails_at: str | None = None
    cause: Cause = Cause.EXIT
    exit_code: int | None = 1
    message: str = "scripted"
    crash: bool = False
    max_rss_bytes: int | None = None
    action: str | None = None  # JSON text of the dynamic action that its first step stages
    bad: frozenset[int] = frozenset()  # indices of the subtasks that fail, in every fan-out
    result: str | None = None  # JSON text, of an attempt that completes
    prints: Prints | None = None  # what it depended on; None: what a worker would record, from the files that are there
    code: str | None = None  # digest of its functions' modules; None: in the same way
    waits: int = 0  # it runs for so many more waits, and may be canceled meanwhile


@dataclass(slots=True)
class _UnderWay:
    """An attempt that has started and goes on."""

    one: Assignment
    outcome: Outcome
    started: float
    waits: int


class ScriptedExecutor:
    """See executors.port.Executor. Every `wait` lets each worker do one attempt; a worker does what it was given in
    the order given. Outcomes are written to journals as a worker would."""

    name = "scripted"

    def __init__(self, store_folder: str, script: Callable[[Assignment], Outcome], clock: Callable[[], float]) -> None:
        self._store, self._script, self._clock = store_folder, script, clock
        self._recipes: dict[int, Recipe] = {}
        self._queues: dict[str, deque[Assignment]] = {}
        self._under_way: dict[str, _UnderWay] = {}
        self._writers: dict[str, Writer] = {}
        self._gone: list[WorkerGone] = []
        self._made = 0
        self._fingerprints = Fingerprints()
        self.ran: list[tuple[str, int, tuple[str, ...]]] = []
        """(job, attempt's number, names of the steps that ran), in order."""
        self.fanned: list[tuple[int, FanOut | None, list[SubtaskEnd]]] = []
        """(attempt, what it was told of an earlier one, how its subtasks ended), for each fan-out begun."""

    def open(self, slots: int) -> Sequence[WorkerInfo]:
        """So many workers, none of them a process of its own."""
        return [self._start() for _ in range(slots)]

    def assign(self, worker: str, recipes: Sequence[Recipe], work: Sequence[Assignment]) -> None:
        """Keep it until the worker's turn comes."""
        self._recipes.update((recipe.id, recipe) for recipe in recipes)
        self._queues[worker].extend(work)

    def cancel(self, worker: str, tokens: Sequence[str]) -> None:
        """What has not had its turn, or goes on, ends canceled."""
        queue = self._queues[worker]
        for one in [one for one in queue if one.token in tokens]:
            queue.remove(one)
            ended = Ended(one.attempt, one.token, self._clock(), int(State.CANCELED), cause=Cause.CANCELED)
            self._writers[worker].append(ended)
        going = self._under_way.get(worker)
        if going is not None and going.one.token in tokens:
            del self._under_way[worker]
            state, cause = int(State.CANCELED), Cause.CANCELED
            ended = Ended(going.one.attempt, going.one.token, self._clock(), state, going.started, cause)
            self._writers[worker].append(ended)

    def recall(self, worker: str) -> None:
        """Everything that has not had its turn is given back."""
        queue = self._queues[worker]
        if queue:
            tokens, attempts = tuple(one.token for one in queue), tuple(one.attempt for one in queue)
            queue.clear()
            self._writers[worker].append(Returned(tokens, attempts))

    def retire(self, worker: str) -> None:
        """It ends at once, and gives back what it has."""
        self.recall(worker)
        del self._queues[worker]
        self._under_way.pop(worker, None)
        self._writers.pop(worker).close()
        self._gone.append(WorkerGone(worker))

    def leave(self) -> None:
        """Nothing runs between two calls."""
        self.close(0.0)

    def wait(self, timeout: float | None, also: Sequence[int] = ()) -> Sequence[int]:
        """One attempt for each worker. When there is none, the time passes at once."""
        if isinstance(self._clock, FakeClock) and not self._under_way and not any(self._queues.values()):
            self._clock.advance(timeout or 0.0)
        for worker, queue in list(self._queues.items()):
            if worker in self._under_way:
                self._under_way[worker].waits -= 1
            elif queue:
                self._under_way[worker] = self._begin(worker, queue.popleft())
            else:
                continue
            if self._under_way[worker].waits < 0:
                self._perform(worker, self._under_way.pop(worker))
        return [fd for fd in also if select.select([fd], [], [], 0)[0]]

    def gone(self) -> Sequence[WorkerGone]:
        """Workers that died since the last call."""
        found, self._gone = self._gone, []
        return found

    def replace(self, worker: str) -> WorkerInfo:  # noqa: ARG002 - all are alike
        """Another one."""
        return self._start()

    def close(self, grace: float) -> None:  # noqa: ARG002 - nothing runs between two calls
        """Nothing more comes."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._queues.clear()
        self._under_way.clear()

    def _start(self) -> WorkerInfo:
        self._made += 1
        name = f"scripted-{os.urandom(4).hex()}-{self._made}"
        path = journal_path(self._store, name)
        make_folder(Path(path).parent)
        self._queues[name], self._writers[name] = deque(), Writer(path)
        return WorkerInfo(name, path, os.getpid(), pid_start=-1)  # no process of its own: dead to whoever looks for it

    def _begin(self, worker: str, one: Assignment) -> _UnderWay:
        outcome, started = self._script(one), self._clock()
        self._writers[worker].append(Started(one.attempt, one.token, started))
        return _UnderWay(one, outcome, started, outcome.waits - 1)

    def _perform(self, worker: str, going: _UnderWay) -> None:
        one, outcome, started, journal = going.one, going.outcome, going.started, self._writers[worker]
        recipe = self._recipes[one.recipe]
        fingerprint = self._fingerprint(recipe, one)
        steps = list(enumerate(recipe.steps))[one.start_step :]
        ran: list[str] = []
        for position, step in steps:
            ran.append(step.name)
            fails = step.name == outcome.fails_at
            dies = fails and (outcome.crash or outcome.cause is Cause.LOST)
            bad = step.each is not None and self._fan_out(journal, one, position, step.each, outcome, dies)
            if dies:
                self.ran.append((one.name, one.number, tuple(ran)))
                if outcome.crash:
                    raise Crash
                self._die(worker, one, started)
                return
            action = outcome.action if len(ran) == 1 and step.each is None else None
            failed = Outcome(cause=Cause.SUBTASKS, exit_code=None) if bad else outcome if fails else None
            end = self._step(position, step.name, failed, action)
            if failed or position == steps[-1][0]:
                break
            journal.append(StepEnded(one.attempt, one.token, end))
        self.ran.append((one.name, one.number, tuple(ran)))
        ended = self._ended(one, end, started, outcome)
        if fingerprint is not None:
            if end.state is State.COMPLETED:
                fingerprint.take_outputs()
            ended = fingerprint.complete(ended)
        code = outcome.code or self._fingerprints.code(recipe, journal.append)
        journal.append(msgspec.structs.replace(ended, prints=outcome.prints or ended.prints, code=code))

    def _fingerprint(self, recipe: Recipe, one: Assignment) -> Fingerprint | None:
        try:
            begun = self._fingerprints.begin(recipe, one, frame_of(recipe, one, os.environ))
        except RekindleError:  # a text that has no value, which only a step that really runs would tell
            return None
        if begun is not None:
            begun.take_inputs()
        return begun

    def _fan_out(
        self, journal: Writer, one: Assignment, position: int, each: Each, outcome: Outcome, dies: bool
    ) -> bool:
        """The subtasks of a step, one after the other; all but the first are never started when its worker `dies`.
        Returns whether any failed."""
        earlier = next((known for known in one.fan_outs if known.step == position), None)
        items = [item_text(item) for item in each.items or ()]
        division = divide(items, earlier.known if earlier else (), earlier.choice if earlier else "all")
        kept = earlier is not None and bool(division.kept)
        journal.append(
            FannedOut(
                one.attempt,
                one.token,
                position,
                len(items),
                run=tuple((known.index, known.item, known.attempts) for known in division.run),
                base=earlier.base if earlier and kept else None,
                gone=tuple(known.index for known in division.gone) if kept else (),
            )
        )
        ends: list[SubtaskEnd] = []
        self.fanned.append((one.attempt, earlier, ends))
        for known in division.run[:1] if dies else division.run:
            ends.append(self._subtask(known.index, known.index in outcome.bad))
            tried = ((known.index, known.attempts + 1),)
            journal.append(Subtasks(one.attempt, one.token, position, started=tried))
            journal.append(Subtasks(one.attempt, one.token, position, ended=(ends[-1],)))
        return any(end.state is State.FAILED for end in ends)

    def _subtask(self, index: int, bad: bool) -> SubtaskEnd:
        now = self._clock()
        if bad:
            return SubtaskEnd(index, State.FAILED, now, now, Cause.EXIT, 1)
        return SubtaskEnd(index, State.COMPLETED, now, now, exit_code=0)

    def _step(self, position: int, name: str, failed: Outcome | None, action: str | None) -> StepOutcome:
        now = self._clock()
        if failed is None:
            return StepOutcome(position, name, State.COMPLETED, exit_code=0, started=now, ended=now, action=action)
        return StepOutcome(position, name, State.FAILED, failed.cause, failed.exit_code, started=now, ended=now)

    def _ended(self, one: Assignment, end: StepOutcome, started: float, outcome: Outcome) -> Ended:
        failed = end.state is State.FAILED
        return Ended(
            one.attempt,
            one.token,
            self._clock(),
            int(end.state),
            started=started,
            cause=end.cause,
            exit_code=end.exit_code,
            failure=Failure(message=outcome.message) if failed else None,
            steps=(end,),
            result=None if failed else outcome.result,
            max_rss_bytes=outcome.max_rss_bytes,
        )

    def _die(self, worker: str, one: Assignment, started: float) -> None:
        """What the executor writes for a worker that is gone: see executors.aftermath."""
        journal, queue = self._writers.pop(worker), self._queues.pop(worker)
        lost = Failure(message="its worker died, as scripted")
        journal.append(
            Ended(one.attempt, one.token, self._clock(), int(State.FAILED), started, Cause.LOST, failure=lost)
        )
        if queue:
            journal.append(Returned(tuple(two.token for two in queue), tuple(two.attempt for two in queue)))
        journal.close()
        self._gone.append(WorkerGone(worker))
