"""Carrying out a schedule on real runners."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from soak_project import MARK, SoakProject
from soak_schedule import Blow, RunnerPlan, Schedule

from rekindle.domain.states import State
from rekindle.store.opening import open_store

PATIENCE = 60.0
"""Seconds without any progress that are a failure, for what nobody disturbs; longer than a lease."""

ROUNDS = 6
"""How often what has failed or was canceled is run again by hand before that counts as not to be finished."""

STILL = 5.0
"""Seconds after which the next blow comes though nothing has moved."""

_REST = 0.01
_LOOK = 0.3  # seconds between two looks at the store
_RESTART = 0.3  # seconds between the end of a runner and the start of the next


class Play:
    """One schedule under way."""

    def __init__(self, project: SoakProject, plan: Schedule) -> None:
        self._project, self._plan = project, plan
        self._runners: dict[int, subprocess.Popen[bytes]] = {}
        self._restart_at: dict[int, float] = {}
        self._commands: list[tuple[subprocess.Popen[bytes], Blow]] = []
        self._due: list[tuple[float, Callable[[], None]]] = []  # what is to be done, and when (monotonic)
        self._fills = 0
        self._last: subprocess.Popen[bytes] | None = None  # the runner that finishes it
        self._peace = False  # no runner is started again
        self.wrong: list[str] = []
        self.met: Counter[str] = Counter()
        self.left: dict[State, int] = {}  # in which states the jobs were after the last blow

    def run(self) -> None:
        """Submit, play all blows, and see the workflow to its end."""
        submitted = self._project.rekindle("submit", "spec.yaml", patience=PATIENCE)
        assert submitted.returncode == 0, submitted.stderr
        try:
            for blow in self._plan.blows:
                self._wait_for(blow.lines)
                self._wait(blow.after)
                getattr(self, f"_{blow.what}")(blow)
            while self._due:
                self._wait(_REST)
            self._await_commands()
            self.left = self._counts()
            self._finish()
        finally:
            self._project.relieve()
            self._end_all()

    # --- blows

    def _kill(self, blow: Blow) -> None:
        pid = self._chosen(blow)
        if pid is not None:
            self.met[f"{blow.whom} killed"] += 1
            _signal(pid, signal.SIGKILL)

    def _pause(self, blow: Blow) -> None:
        pid = self._chosen(blow)
        if pid is not None:
            self.met[f"{blow.whom} stopped"] += 1
            _signal(pid, signal.SIGSTOP)
            self._later(blow.length, lambda: _signal(pid, signal.SIGCONT))

    def _fill(self, blow: Blow) -> None:
        self._fills += 1
        self.met["disk filled"] += 1
        self._project.fill()
        self._later(blow.length, self._relieve)

    def _relieve(self) -> None:
        self._fills -= 1
        if not self._fills:
            self._project.relieve()

    def _step(self, blow: Blow) -> None:
        self.met["clock set"] += 1
        self._project.set_clock(blow.amount)

    def _command(self, blow: Blow) -> None:
        self.met[f"{blow.words[0]} {'killed' if blow.length else 'called'}"] += 1
        process, _ = self._project.start(blow.words)
        self._commands.append((process, blow))
        if blow.length:
            self._later(blow.length, process.kill)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, do))

    def _chosen(self, blow: Blow) -> int | None:
        """Of the processes that are meant, the one that is met; None: there are none now."""
        if blow.whom == "runner":
            found = [process.pid for process in self._runners.values() if process.poll() is None]
        else:
            found = sorted(pid for pid, kind in marked(self._project.mark) if kind == blow.whom)
        return found[int(blow.target * len(found))] if found else None

    # --- time

    def _wait_for(self, lines: int) -> None:
        """Until so many more lines are written; no longer than `STILL` seconds, for it may be that none comes."""
        target, limit = self._written() + lines, time.monotonic() + STILL
        look_at = 0.0
        while self._written() < target and (now := time.monotonic()) < limit:
            if now >= look_at:
                look_at = now + _LOOK
                if self._settled():
                    return
            self._wait(_REST)

    def _written(self) -> int:
        return self._project.ledger.read_bytes().count(b"\n")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for due in [due for due in self._due if due[0] <= now]:
                self._due.remove(due)
                due[1]()
            for place, plan in enumerate(() if self._peace else self._plan.runners):
                self._keep_running(place, plan, now)
            if now >= until:
                return
            time.sleep(min(_REST, until - now))

    def _keep_running(self, place: int, plan: RunnerPlan, now: float) -> None:
        process = self._runners.get(place)
        if process is not None and process.poll() is None:
            return
        if process is not None and place not in self._restart_at:
            self._restart_at[place] = now + _RESTART
        if self._restart_at.get(place, now) <= now:
            self._restart_at.pop(place, None)
            words = ["work", "-j", str(plan.slots), *(["--watch"] if plan.watch else [])]
            self._runners[place], _ = self._project.start(words)

    # --- the end

    def _await_commands(self) -> None:
        for process, blow in self._commands:
            name = f"`rekindle {' '.join(blow.words)}`"
            try:
                code = process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.wrong.append(f"{name} did not end")
                continue
            if code not in (0, 1, 2) and not (blow.length and code == -signal.SIGKILL):
                self.wrong.append(f"{name} ended with {code}")

    def _finish(self) -> None:
        """Nobody disturbs it any more. What failed or was canceled is run again, as a person would."""
        if not self._plan.survivors:
            self._peace = True
            self._end_all()
        for _ in range(ROUNDS):
            self._act("release", "--all")
            self._see_through()
            counts = self._counts()
            if set(counts) <= {State.COMPLETED}:
                break
            for state in ("failed", "canceled"):
                self._act("rerun", "-s", state, "--yes")
        if self._plan.survivors:
            self._end_in_order()

    def _act(self, *words: str) -> None:
        done = self._project.rekindle(*words, patience=PATIENCE)
        if done.returncode != 0:
            self.wrong.append(f"`rekindle {' '.join(words)}` ended with {done.returncode}: {done.stderr}")

    def _see_through(self) -> None:
        """Until nothing is left that can run. No job may stay for long in a state in which nothing runs it: what is
        written must grow, or come to its end."""
        work, errors = (None, None) if self._plan.survivors else self._project.start(("work", "-j", "2"))
        written, limit = -1, 0.0
        while not (self._settled() if work is None else work.poll() is not None):
            if self._written() != written:
                written, limit = self._written(), time.monotonic() + PATIENCE
            if time.monotonic() > limit:
                self.wrong.append(f"nothing has moved for {PATIENCE:g} s: {self._counts()}")
                break
            self._wait(0.05)
        if work is not None and errors is not None:
            self._last = work
            if work.poll() not in (None, 0, 2, 5):
                self.wrong.append(f"the last `rekindle work` ended with {work.returncode}: {errors.read_text()}")

    def _settled(self) -> bool:
        left = set(self._counts()) - {State.COMPLETED}
        return not left or (not left & {State.READY, State.QUEUED, State.RUNNING} and left != {State.WAITING})

    def _counts(self) -> dict[State, int]:
        store = open_store(str(self._project.store), create=False)
        try:
            with store.read() as archive:
                (workflow,) = archive.workflows.listing()
                return {state: n for state, n in workflow.counts.items() if n}
        finally:
            store.close()

    def _end_in_order(self) -> None:
        for process in self._runners.values():
            if process.poll() is None:
                process.terminate()
        for process in self._runners.values():
            process.wait(timeout=PATIENCE)

    def _end_all(self) -> None:
        started = [*self._runners.values(), *(process for process, _ in self._commands)]
        for process in [*started, *([self._last] if self._last else [])]:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=PATIENCE)
        for pid, _ in marked(self._project.mark):
            _signal(pid, signal.SIGCONT)


def end_marked(mark: str) -> None:
    """Kill whatever is left of a run."""
    while left := list(marked(mark)):
        for pid, _ in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(_REST)


def marked(mark: str) -> Iterator[tuple[int, str]]:
    """(pid, what it is) of the living processes of a run: worker, host, job or other."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if wanted in environment:
                yield int(folder.name), _kind((folder / "cmdline").read_bytes().split(b"\0"), environment)


def _kind(words: list[bytes], environment: list[bytes]) -> str:
    for module, kind in ((b"rekindle.worker.host", "host"), (b"rekindle.worker", "worker")):
        if module in words:
            return kind
    return "job" if any(entry.startswith(b"REKINDLE_DIR=") for entry in environment) else "other"


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
