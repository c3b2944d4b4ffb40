"""Play a simulation: who goes on next, what dies, and at the end a quiet run and the checks."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import traceback
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rekindle.domain.errors import RekindleError
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import Steps, work_in_steps
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.store.archive import Store
from rekindle.store.sqlite_connection import FILE, connect
from rekindle.store.sqlite_driver import SqliteDriver
from rekindle.testing.fakes import Crash
from rekindle.testing.scripted import ScriptedOutcome
from rekindle.testing.simulation import checks
from rekindle.testing.simulation.faults import Faults
from rekindle.testing.simulation.faulty_store import connect_store
from rekindle.testing.simulation.history import all_attempts
from rekindle.testing.simulation.person import Person, project_of
from rekindle.testing.simulation.workers import SimulatedExecutor, Worker
from rekindle.testing.simulation.workflows import draw_definition, draw_outcome
from rekindle.testing.simulation.world import Process, World

if TYPE_CHECKING:
    from rekindle.journal.orders import Assignment

TURNS = 120
"""Turns with faults; then everything may end in peace."""

QUIET_TURNS = 4000
"""The most turns in which a quiet run must end."""

RUNNERS = 3
"""The most runners at once."""

MEMORY_FOLDER = Path("/dev/shm")
"""Where the files of simulations are, if it is there, so that no simulation waits for a disk."""

_MEMORY = 1 << 30  # bytes for jobs


class Contradiction(AssertionError):
    """A simulation contradicts an invariant. `log` is its event log so far."""

    def __init__(self, seed: int, text: str, log: list[str]) -> None:
        again = f"{sys.executable} -m rekindle.testing.simulation {seed}"
        super().__init__(f"seed {seed}: {text}\nagain: {again}")
        self.seed, self.log = seed, log


class Runner:
    """One simulated runner: a process that runs `work`."""

    def __init__(self, world: World, folder: str, identity: str, process: Process, *, quiet: bool) -> None:
        self.process, self._world = process, world
        random = world.random

        def script(_: Assignment) -> ScriptedOutcome:
            return ScriptedOutcome() if quiet else draw_outcome(random)

        self.executor = SimulatedExecutor(world, folder, script, process)
        self.is_running = False  # its step is on the stack
        session = Session(connect_store(world, process, folder, identity), world.clock)
        slots = random.randint(1, 3)
        options = WorkOptions(slots=slots, executor="scripted", memory=_MEMORY)
        self._session, self._steps = session, work_in_steps(session, options, executor=self.executor)
        process.on_death.append(self._unwind)

    def step(self) -> None:
        """Go on until the next wait."""
        steps: Steps = self._steps
        self.is_running = True
        with self._world.running(self.process):
            try:
                next(steps)
                return
            except StopIteration as end:
                self._world.note(f"ends: {end.value.exit_code}")
            except Crash:
                pass
            except RekindleError as error:
                text = error.message.replace(self._session.store.folder, "STORE")
                self._world.note(f"ends with {type(error).__name__}: {text}")
            finally:
                self.is_running = False
        if self.process.alive:
            self._session.close()
        self._world.kill(self.process, "ends")

    def _unwind(self) -> None:
        """Close what the killed process has open. Whatever that code would write raises Crash."""
        if not self.is_running:
            with self._world.running(self.process), suppress(Crash, StopIteration):
                self._steps.throw(Crash())


class Simulation:
    """One simulation. `folder` is an empty folder."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.world = World(seed, Faults(seed))
        self.folder = str(folder)
        self.runners: list[Runner] = []
        self.workers: list[Worker] = []
        self.executors: list[SimulatedExecutor] = []
        self.spaces = self.world.random.choice([1, 1, 1, 2])
        self.identity = _copy_new_store(folder)
        self.looker = _open(self.folder, self.identity)  # also keeps other connections from being the last
        self.person = Person(self.world, self.folder, self.identity)
        self.depth = 0
        self.known = checks.Known()
        self.synced = 0  # bytes of the log of the database that a power cut leaves

    # --- turns

    def play(self) -> None:
        """Play it, and raise AssertionError at the first contradiction."""
        world = self.world
        world.switch, world.sleep = self._switch, self._sleep
        first = draw_definition(world.random, "first", project_of(self.folder))

        def submit_first(session: Session) -> None:
            submit(session, first)

        while not self.person.type(submit_first):
            pass
        sizes: deque[int] = deque(maxlen=20)
        for _ in range(TURNS):
            sizes.append(Path(self.folder, f"{FILE}-wal").stat().st_size)
            self.synced = sizes[0]
            self._turn()
            if world.random.random() < 0.1:
                self._check()
        self._settle()

    def _turn(self) -> None:
        """Let one of those that can go on do so, or let time pass."""
        world, random = self.world, self.world.random
        world.advance(random.choice([0.0005, 0.002, 0.01, 0.01, 1.0]))
        if self.depth == 0:
            chance = random.random()
            if chance < 0.07:
                if len(self._living()) < RUNNERS:
                    self._start_runner(quiet=False)
            elif chance < 0.16:
                self.person.type_something()
            elif chance < 0.19:
                self._hurt()
            elif chance < 0.20:
                world.wall += random.choice([-3600.0, -5.0, 5.0, 3600.0])
                world.note("the wall clock is set")
        self._go_on()

    def _go_on(self) -> None:
        now = self.world.monotonic()
        workers = [one for one in self._live_workers() if one.is_ready and one.process.paused <= now]
        runners = [
            one for one in self._living() if not one.is_running and one.process.paused <= now and one.executor.wakes
        ]
        ready: list[Runner | Worker] = [*workers, *runners]
        if not ready:
            self._skip()
            return
        chosen = self.world.random.choice(ready)
        if isinstance(chosen, Runner):
            chosen.step()
            return
        with self.world.running(chosen.process):
            chosen.step()

    def _skip(self) -> None:
        """Nobody has anything to do: let time pass until somebody has."""
        dues = [max(one.process.paused, one.executor.due) for one in self._living() if not one.is_running]
        dues += [max(one.process.paused, one.due) for one in self._live_workers()]
        now = self.world.monotonic()
        self.world.advance(max(0.001, min(dues, default=now + 1.0) - now))

    def _switch(self) -> None:
        """Before a block of the store begins, others may go on."""
        world = self.world
        if self.depth >= 2 or world.is_quiet or world.random.random() >= 0.04:
            return
        self._others(world.random.randint(1, 4))

    def _sleep(self, seconds: float) -> None:
        """While a process sleeps, others go on."""
        until = self.world.monotonic() + seconds
        while self.depth < 2 and not self.world.is_quiet and self.world.monotonic() < until:
            self._others(1)
        self.world.advance(until - self.world.monotonic())

    def _others(self, turns: int) -> None:
        self.depth += 1
        try:
            with self.world.running(self.world.processes[next(iter(self.world.processes))]):
                for _ in range(turns):
                    self._turn()
        finally:
            self.depth -= 1

    def _start_runner(self, *, quiet: bool) -> Runner:
        space = self.world.random.randint(1, self.spaces)
        process = self.world.start(f"runner-{len(self.executors) + 1}", space)
        runner = Runner(self.world, self.folder, self.identity, process, quiet=quiet)
        self.runners.append(runner)
        self.executors.append(runner.executor)
        self.world.note(f"starts {process.name}")
        return runner

    def _hurt(self) -> None:
        """Kill a runner or a worker, stop it for a while, or cut the power."""
        world, random = self.world, self.world.random
        victims = [one.process for one in self._living()] + [one.process for one in self._live_workers()]
        if random.random() < 0.1:
            self._cut_power()
        elif victims:
            victim = random.choice(victims)
            if random.random() < 0.5:
                world.kill(victim)
            else:
                victim.paused = world.monotonic() + random.choice([0.5, 20.0, 50.0, 100.0])
                world.note(f"{victim.name} is stopped")

    def _cut_power(self) -> None:
        """Kill everything. The newest commits may be gone: they were not synced. Journals keep theirs."""
        world, log = self.world, Path(self.folder, f"{FILE}-wal")
        with world.quiet():  # nobody runs between the end of the first process and that of the last one
            content, database = log.read_bytes(), Path(self.folder, FILE).read_bytes()
            world.cut_power()
            self.looker.close()
            gc.collect()  # cursors in cycles keep their connections, and those the files
            if not world.durable and world.random.random() < 0.7:
                content = content[: world.random.randint(min(self.synced, len(content)), len(content))]
            for path in Path(self.folder).glob(f"{FILE}-*"):
                path.unlink()
            Path(self.folder, FILE).write_bytes(database)
            log.write_bytes(content)
            self.looker = _open(self.folder, self.identity)
            self.known.ended.clear()
            checks.forget_undone(self._looking, self.executors)

    def _living(self) -> list[Runner]:
        self.runners = [one for one in self.runners if one.process.alive]
        return self.runners

    def _live_workers(self) -> list[Worker]:
        return [one for executor in self.executors for one in executor.made if one.process.alive]

    # --- checks

    def _check(self) -> None:
        with self.world.quiet():
            checks.check_now(self._looking, self.known, self.executors)

    def _settle(self) -> None:
        """End the faults, let everything come to rest, bring the workflows to their ends, and check all of it."""
        world = self.world
        world.faults.kinds = []
        world.note("no more faults")
        self._run_to_the_end(quiet=False)
        self._check()
        for _ in range(6):
            if not self._mend():
                break
            self._run_to_the_end(quiet=True)
        before = all_attempts(self._looking).keys()
        self._run_to_the_end(quiet=True)
        with world.quiet():
            checks.check_now(self._looking, self.known, self.executors)
            checks.check_end(self._looking, self.executors, before)
            store = checks.digest_of_store(self.folder)
        world.note(f"the store is {store}")

    def _run_to_the_end(self, *, quiet: bool) -> None:
        for _ in range(QUIET_TURNS):
            if not self._living() and not self._live_workers():
                break
            self.world.advance(0.002)
            self._go_on()
        else:
            raise AssertionError("runners and workers do not end")
        runner = self._start_runner(quiet=quiet)
        for _ in range(QUIET_TURNS):
            if not runner.process.alive and not self._live_workers():
                return
            self.world.advance(0.002)
            self._go_on()
        raise AssertionError("a run without faults does not end")

    def _mend(self) -> bool:
        """Release all jobs and rerun those that failed. Return whether jobs are not completed."""
        left: list[int] = []

        def mend(session: Session) -> None:
            with session.store.read() as archive:
                jobs = archive.jobs.get(archive.jobs.select(Selection().where, None))
            control.release(session, [job.id for job in jobs])
            left.extend(job.id for job in jobs if job.state is not State.COMPLETED)
            failed = [job.id for job in jobs if job.state in (State.FAILED, State.CANCELED)]
            if failed:
                rerun.apply(session, rerun.plan(session, [(failed, How())], {}))

        with self.world.quiet():
            assert self.person.type(mend), "a command without faults failed"
        return bool(left)

    @property
    def _looking(self) -> Session:
        return Session(self.looker, self.world.clock)

    def close(self) -> None:
        """Close what is open."""
        for process in self.world.processes.values():
            if process is not self.world.current:
                self.world.kill(process, "is over")
        self.looker.close()


def play(seed: int) -> list[str]:
    """Play the simulation of a seed, and return its event log. Raise Contradiction."""
    memory = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory))
    log: list[str] = []
    try:
        _new_store()
        simulation = Simulation(seed, folder / ".rekindle")
        with simulation.world.entered():
            try:
                simulation.play()
            finally:
                log = [*simulation.world.log]
                simulation.close()
    except Exception as error:
        raise Contradiction(seed, "".join(traceback.format_exception(error)), log) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [line.replace(str(folder), "FOLDER") for line in log]


def _open(folder: str, identity: str) -> Store:
    return Store(SqliteDriver(connect(Path(folder) / FILE), folder), folder, identity)


@cache
def _new_store() -> tuple[str, dict[str, bytes]]:
    """Return the identity and the files of a new store. Making one takes longer than a simulation may."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder, World(0, Faults(0)).entered():
        session = open_session(str(Path(folder, ".rekindle")))
        identity = session.store.identity
        session.close()
        files = {path.name: path.read_bytes() for path in Path(folder, ".rekindle").iterdir() if path.is_file()}
    return identity, files


def _copy_new_store(folder: Path) -> str:
    identity, files = _new_store()
    folder.mkdir(0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return identity
