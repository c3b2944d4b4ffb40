"""What runs in the processes of Dask: elements in workers, and a record of them in the scheduler.

These processes may not have rekindle: the client sends this module by value, so it imports nothing of rekindle. A task
of Dask is cheap to lose: its result is forgotten or computed again, and a canceled one goes on in its thread. So the
task returns nothing, reports to the scheduler when its process starts and ends, and kills the process when Dask has
dropped the task."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin

PLUGIN = "rekindle-elements"
"""The name of the plugin in the scheduler, and of the topic of events."""

TERMINATE_SECONDS = 30.0  # between SIGTERM and SIGKILL
KEEP_SECONDS = 7 * 86_400.0  # from its start: how long the scheduler remembers a batch without tasks
LOOK_SECONDS = 0.2
SETTLE_SECONDS = 2.0  # in which news of a start arrives from a worker

# A process in the element's group that kills the group when the pipe from the Dask worker closes: the worker has died.
_GUARD = 'exec 3<&0 </dev/null; (trap "" TERM; read _ <&3; kill -KILL 0) & exec "$@" 3<&-'


def run_element(name: str, index: int, argv: Sequence[str], folder: str, seconds: float | None) -> None:
    """Run one element in a thread of a Dask worker, and report its start and end to the scheduler."""
    worker = get_worker()
    key = worker.get_current_task()

    def report(news: Mapping[str, Any]) -> None:
        worker.log_event(PLUGIN, {"name": name, "index": index, **news})

    with open(os.path.join(folder, f"{index}.err"), "ab") as output:  # noqa: PTH118
        process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "element", *argv, str(index)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    report({"start": {"worker": worker.address, "host": socket.gethostname(), "pid": process.pid}})
    stopped = "error"
    try:
        stopped = _watch(worker, key, process.pid, None if seconds is None else time.monotonic() + seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the guard, and what the element has left
        code = process.wait()
        if process.stdin:
            process.stdin.close()
        report({"end": {"code": code, "stopped": stopped}})


def _watch(worker: Worker, key: Any, pid: int, deadline: float | None) -> str:
    """Wait until a process has ended. Stop it if Dask has dropped its task, its worker closes or its time is over;
    return which of these happened ("": none)."""
    handle = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        stopped, kill_at = "", 0.0
        while not ended.poll(LOOK_SECONDS * 1000):
            if not stopped and (stopped := _reason_to_stop(worker, key, deadline)):
                kill_at = time.monotonic() + TERMINATE_SECONDS
                os.killpg(pid, signal.SIGTERM)
            elif stopped and time.monotonic() > kill_at:
                os.killpg(pid, signal.SIGKILL)
        return stopped
    finally:
        os.close(handle)


def _reason_to_stop(worker: Worker, key: Any, deadline: float | None) -> str:
    if deadline is not None and time.monotonic() > deadline:
        return "time"
    if worker.status.name in ("closing", "closed", "failed"):
        return "worker"
    task = worker.state.tasks.get(key)
    return "" if task is not None and task.state in ("executing", "long-running") else "dropped"


class ElementRecords(SchedulerPlugin):
    """The batches that the scheduler has, and the starts and ends of their elements. Names of batches end with their
    tokens; the key of an element is NAME-INDEX."""

    name = PLUGIN

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.batches: dict[str, dict[str, Any]] = {}

    def expect(self, name: str, elements: int) -> int:
        """Record a batch whose tasks follow; return how many failures of workers the scheduler allows a task."""
        self._forget_old()
        batch = {"elements": elements, "at": time.time(), "starts": {}, "ends": {}, "canceled": {}}
        self.batches.setdefault(name, batch)
        return self.scheduler.allowed_failures

    def update_graph(self, scheduler: Scheduler, *, keys: Collection[Any], **_: Any) -> None:
        """Keep new elements until they have ended, whether or not the client that sends them is there.

        `fire_and_forget` of distributed does not: its message may overtake the tasks, and has no effect then."""
        ours = [key for key in keys if self._split(key)]
        scheduler.client_desires_keys(keys=ours, client="fire-and-forget")

    def _split(self, key: Any) -> tuple[str, int] | None:
        """Return the batch and the index of a task, or None if it is of somebody else."""
        name, _, index = key.rpartition("-") if isinstance(key, str) else ("", "", "")
        return (name, int(index)) if name in self.batches else None

    def _forget_old(self) -> None:
        oldest = time.time() - KEEP_SECONDS
        for name, batch in list(self.batches.items()):
            if batch["at"] < oldest and not self._tasks(name):
                del self.batches[name]

    def _tasks(self, name: str) -> int:
        batch = self.batches[name]
        return sum(f"{name}-{index}" in self.scheduler.tasks for index in range(batch["elements"]))

    def count(self, name: str) -> int:
        """Return the number of elements of a batch whose tasks have arrived."""
        batch = self.batches[name]
        known = {*batch["ends"], *batch["starts"], *batch["canceled"]}
        return sum(index in known or f"{name}-{index}" in self.scheduler.tasks for index in range(batch["elements"]))

    def find(self, tokens: Collection[str]) -> dict[str, str]:
        """Return the names of batches by token."""
        wanted = set(tokens)
        return {name[-16:]: name for name in self.batches if name[-16:] in wanted and self.count(name)}

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        """Drop the tasks of elements. Their workers then stop the processes."""
        for name, indices in elements.items():
            batch = self.batches.get(name)
            for index in indices if batch else ():
                if batch and index not in batch["ends"]:
                    batch["canceled"].setdefault(index, time.time())
                    self._drop(f"{name}-{index}")

    def _drop(self, key: str) -> None:
        task = self.scheduler.tasks.get(key)
        for client in [one.client_key for one in task.who_wants or ()] if task else ():
            self.scheduler.client_releases_keys(keys=[key], client=client)

    def look(self, names: Collection[str]) -> list[dict[str, Any]]:
        """Return what is known of each element of these batches."""
        return [
            self._look(name, index)
            for name in names
            if name in self.batches and self.count(name)
            for index in range(self.batches[name]["elements"])
        ]

    def _look(self, name: str, index: int) -> dict[str, Any]:
        batch = self.batches[name]
        starts, end = batch["starts"].get(index, []), batch["ends"].get(index)
        canceled = batch["canceled"].get(index)
        found = {"name": name, "index": index, "starts": starts, "canceled": canceled is not None}
        task = self.scheduler.tasks.get(f"{name}-{index}")
        if end is not None:
            return {**found, "phase": "ended", "end": end}
        if task is not None:
            at = task.processing_on.address if task.processing_on else ""
            if starts and starts[-1]["worker"] == at:
                return {**found, "phase": "running"}
            return {**found, "phase": "pending", "waits_for": self._waits_for(task)}
        if starts and starts[-1]["worker"] in self.scheduler.workers:
            return {**found, "phase": "running"}  # dropped; the worker stops it
        if not starts and time.time() - (canceled or 0) < SETTLE_SECONDS:
            return {**found, "phase": "pending", "waits_for": ""}
        return {**found, "phase": "ended", "end": {"code": None, "stopped": "dropped"}}

    def _waits_for(self, task: Any) -> str:
        workers = self.scheduler.workers.values()
        if not workers:
            return "no Dask worker is connected"
        wanted = task.resource_restrictions or {}
        if wanted and not any(all(one.resources.get(k, 0) >= n for k, n in wanted.items()) for one in workers):
            return f"no Dask worker has the resources {', '.join(f'{k}={n:g}' for k, n in wanted.items())}"
        return "the Dask workers are busy"

    def log_event(self, topic: str, msg: Any) -> None:
        """Take a report of a worker."""
        if topic != PLUGIN or msg["name"] not in self.batches:
            return
        batch = self.batches[msg["name"]]
        if "start" in msg:
            batch["starts"].setdefault(msg["index"], []).append(msg["start"])
            batch["ends"].pop(msg["index"], None)  # the scheduler has moved the task from a worker that closed
        if "end" in msg:
            batch["ends"][msg["index"]] = msg["end"]

    def transition(self, key: Any, start: str, finish: str, *_: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record the end of a task that Dask gave up: its worker died, or the task could not run."""
        if finish not in ("erred", "memory") or (found := self._split(key)) is None:
            return
        name, index = found
        task = self.scheduler.tasks.get(key)
        error = kwargs.get("exception_text") or (task.exception_text if task else "") or ""
        end = {"code": None, "stopped": "erred", "error": error, "worker": kwargs.get("worker", "")}
        end["silent"] = "worker-ttl" in kwargs.get("stimulus_id", "")
        self.batches[name]["ends"].setdefault(index, end)


def ask_records(method: str, *arguments: Any, create: bool = False, dask_scheduler: Any = None) -> Any:
    """Call a method of the records, in the scheduler; return None if it has none (it has restarted)."""
    plugin = dask_scheduler.plugins.get(PLUGIN)
    if plugin is None:
        if not create:
            return None
        plugin = ElementRecords(dask_scheduler)
        dask_scheduler.add_plugin(plugin, name=PLUGIN)
    return getattr(plugin, method)(*arguments)


def allowed_failures(dask_scheduler: Any = None) -> int:
    """Return how many workers may die under a task before the scheduler gives the task up."""
    return int(dask_scheduler.allowed_failures)
