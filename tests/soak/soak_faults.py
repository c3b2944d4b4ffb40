"""Run a schedule of faults on real runners."""

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
from soak_schedule import Fault, RunnerPlan, Schedule

from rekindle.domain.states import State
from rekindle.store.opening import open_store

WAIT_SECONDS = 60.0
"""Seconds without progress that count as a failure once the faults are over. Longer than a lease."""

FINISH_ROUNDS = 6
"""How often failed and canceled jobs are rerun before the workflow counts as unable to finish."""

STALL_SECONDS = 5.0
"""Seconds without progress after which the next fault is made anyway."""

_POLL_SECONDS = 0.01
_CHECK_SECONDS = 0.3  # between two reads of the store
_RESTART_SECONDS = 0.3  # between the end of a runner and the start of the next


class ScheduleRun:
    """One run of a schedule."""

    def __init__(self, project: SoakProject, plan: Schedule) -> None:
        self._project, self._plan = project, plan
        self._runners: dict[int, subprocess.Popen[bytes]] = {}
        self._restart_at: dict[int, float] = {}
        self._commands: list[tuple[subprocess.Popen[bytes], Fault]] = []
        self._due: list[tuple[float, Callable[[], None]]] = []  # (time (monotonic), action)
        self._fills = 0
        self._last: subprocess.Popen[bytes] | None = None  # the runner that finishes the workflow
        self._no_restarts = False  # runners are not restarted any more
        self.wrong: list[str] = []
        self.met: Counter[str] = Counter()
        self.left: dict[State, int] = {}  # job states after the last fault

    def run(self) -> None:
        """Submit, make all faults, and run the workflow to its end."""
        submitted = self._project.rekindle("submit", "spec.yaml", timeout=WAIT_SECONDS)
        assert submitted.returncode == 0, submitted.stderr
        try:
            for fault in self._plan.faults:
                self._wait_for(fault.lines)
                self._wait(fault.after)
                getattr(self, f"_{fault.what}")(fault)
            while self._due:
                self._wait(_POLL_SECONDS)
            self._await_commands()
            self.left = self._counts()
            self._finish()
        finally:
            self._project.relieve()
            self._end_all()

    # --- faults

    def _kill(self, fault: Fault) -> None:
        pid = self._chosen(fault)
        if pid is not None:
            self.met[f"{fault.process_kind} killed"] += 1
            _signal(pid, signal.SIGKILL)

    def _pause(self, fault: Fault) -> None:
        pid = self._chosen(fault)
        if pid is not None:
            self.met[f"{fault.process_kind} stopped"] += 1
            _signal(pid, signal.SIGSTOP)
            self._later(fault.length, lambda: _signal(pid, signal.SIGCONT))

    def _fill(self, fault: Fault) -> None:
        self._fills += 1
        self.met["disk filled"] += 1
        self._project.fill()
        self._later(fault.length, self._relieve)

    def _relieve(self) -> None:
        self._fills -= 1
        if not self._fills:
            self._project.relieve()

    def _step(self, fault: Fault) -> None:
        self.met["clock set"] += 1
        self._project.set_clock(fault.amount)

    def _command(self, fault: Fault) -> None:
        self.met[f"{fault.words[0]} {'killed' if fault.length else 'called'}"] += 1
        process, _ = self._project.start(fault.words)
        self._commands.append((process, fault))
        if fault.length:
            self._later(fault.length, process.kill)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, do))

    def _chosen(self, fault: Fault) -> int | None:
        """Return the process that a fault concerns, or None if there is none of its kind."""
        if fault.process_kind == "runner":
            found = [process.pid for process in self._runners.values() if process.poll() is None]
        else:
            found = sorted(pid for pid, kind in marked(self._project.mark) if kind == fault.process_kind)
        return found[int(fault.target * len(found))] if found else None

    # --- time

    def _wait_for(self, lines: int) -> None:
        """Wait until `lines` more lines are written, for at most STALL_SECONDS: perhaps none is written any more."""
        target, limit = self._written() + lines, time.monotonic() + STALL_SECONDS
        look_at = 0.0
        while self._written() < target and (now := time.monotonic()) < limit:
            if now >= look_at:
                look_at = now + _CHECK_SECONDS
                if self._is_at_rest():
                    return
            self._wait(_POLL_SECONDS)

    def _written(self) -> int:
        return self._project.ledger.read_bytes().count(b"\n")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for due in [due for due in self._due if due[0] <= now]:
                self._due.remove(due)
                due[1]()
            for place, plan in enumerate(() if self._no_restarts else self._plan.runners):
                self._keep_running(place, plan, now)
            if now >= until:
                return
            time.sleep(min(_POLL_SECONDS, until - now))

    def _keep_running(self, place: int, plan: RunnerPlan, now: float) -> None:
        process = self._runners.get(place)
        if process is not None and process.poll() is None:
            return
        if process is not None and place not in self._restart_at:
            self._restart_at[place] = now + _RESTART_SECONDS
        if self._restart_at.get(place, now) <= now:
            self._restart_at.pop(place, None)
            words = ["work", "-j", str(plan.slots), *(["--watch"] if plan.watch else [])]
            self._runners[place], _ = self._project.start(words)

    # --- the end

    def _await_commands(self) -> None:
        for process, fault in self._commands:
            name = f"`rekindle {' '.join(fault.words)}`"
            try:
                code = process.wait(timeout=WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.wrong.append(f"{name} did not end")
                continue
            if code not in (0, 1, 2) and not (fault.length and code == -signal.SIGKILL):
                self.wrong.append(f"{name} ended with {code}")

    def _finish(self) -> None:
        """Run the workflow to its end without faults. Rerun failed and canceled jobs, as a user would."""
        if not self._plan.survivors:
            self._no_restarts = True
            self._end_all()
        for _ in range(FINISH_ROUNDS):
            self._act("release", "--all")
            self._run_to_rest()
            counts = self._counts()
            if set(counts) <= {State.COMPLETED}:
                break
            for state in ("failed", "canceled"):
                self._act("rerun", "-s", state, "--yes")
        if self._plan.survivors:
            self._end_in_order()

    def _act(self, *words: str) -> None:
        done = self._project.rekindle(*words, timeout=WAIT_SECONDS)
        if done.returncode != 0:
            self.wrong.append(f"`rekindle {' '.join(words)}` ended with {done.returncode}: {done.stderr}")

    def _run_to_rest(self) -> None:
        """Run until no job is left that can run. Lines must be written at least every WAIT_SECONDS."""
        work, errors = (None, None) if self._plan.survivors else self._project.start(("work", "-j", "2"))
        written, limit = -1, 0.0
        while not (self._is_at_rest() if work is None else work.poll() is not None):
            if self._written() != written:
                written, limit = self._written(), time.monotonic() + WAIT_SECONDS
            if time.monotonic() > limit:
                self.wrong.append(f"nothing has moved for {WAIT_SECONDS:g} s: {self._counts()}")
                break
            self._wait(0.05)
        if work is not None and errors is not None:
            self._last = work
            if work.poll() not in (None, 0, 2, 5):
                self.wrong.append(f"the last `rekindle work` ended with {work.returncode}: {errors.read_text()}")

    def _is_at_rest(self) -> bool:
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
            process.wait(timeout=WAIT_SECONDS)

    def _end_all(self) -> None:
        started = [*self._runners.values(), *(process for process, _ in self._commands)]
        for process in [*started, *([self._last] if self._last else [])]:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=WAIT_SECONDS)
        for pid, _ in marked(self._project.mark):
            _signal(pid, signal.SIGCONT)


def end_marked(mark: str) -> None:
    """Kill all processes of a run."""
    while left := list(marked(mark)):
        for pid, _ in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def marked(mark: str) -> Iterator[tuple[int, str]]:
    """Return (pid, kind) of the living processes of a run. Kinds: worker, host, job, other."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if wanted in environment:
                yield int(folder.name), _kind((folder / "cmdline").read_bytes().split(b"\0"), environment)


def _kind(words: list[bytes], environment: list[bytes]) -> str:
    for module, kind in ((b"rekindle.worker.call_host", "host"), (b"rekindle.worker", "worker")):
        if module in words:
            return kind
    return "job" if any(entry.startswith(b"REKINDLE_DIR=") for entry in environment) else "other"


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
