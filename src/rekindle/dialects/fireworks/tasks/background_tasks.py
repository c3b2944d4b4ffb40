"""`_background_tasks` of a firework: Firetasks that run beside its own ones, in a process of their own.

The process starts before the first task of a launch, and ends after the last one. The worker kills it if the launch
fails, is canceled or is lost. What it prints is in FW_background.out in the launch folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rekindle.dialects.fireworks.tasks.dispatch import run_task
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec
from rekindle.journal.paths import TOKEN_VARIABLE
from rekindle.journal.processes import wait_readable

OUTPUT_FILE = "FW_background.out"
_PROCESS_FILE = ".FW_background.json"
_END_SECONDS = 30.0
"""How long a launch waits for background tasks that are running when its own tasks are done."""


class BackgroundTask(msgspec.Struct, frozen=True):
    """Tasks to run again and again: `num_launches` times (0: until the launch ends), `sleep_time` seconds apart, and
    with `run_on_finish` once more after the launch's own tasks."""

    tasks: tuple[dict[str, Any], ...]
    num_launches: int = 0
    sleep_time: float = 60.0
    run_on_finish: bool = False


def read_background_tasks(written: object) -> list[BackgroundTask]:
    """Read `_background_tasks`. Raises BadTask if one is invalid."""
    every = written if isinstance(written, list | tuple) else [written]
    found = []
    for one in every:
        document = dict(one) if isinstance(one, Mapping) else {}
        if isinstance(document.get("tasks"), Mapping):
            document["tasks"] = [document["tasks"]]
        try:
            found.append(msgspec.convert(document, BackgroundTask))
        except msgspec.ValidationError as error:
            raise BadTask(
                f"an entry of `_background_tasks` is invalid: {error}", hint="it has `tasks`, a list"
            ) from None
    return found


def start_background(written: object, spec: Spec) -> None:
    """Start the process of a launch's background tasks in the working directory, unless this launch has one. Returns
    once they have begun. Raises BadTask if one is invalid."""
    if _process() is not None:
        return
    tasks = msgspec.to_builtins(read_background_tasks(written))
    order = json.dumps({"tasks": tasks, "spec": dict(spec), "path": sys.path})
    begun, begins = os.pipe()
    try:
        with Path(OUTPUT_FILE).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(begins)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[begins],
            )
        os.close(begins)
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(order.encode())
        Path(_PROCESS_FILE).write_text(json.dumps({"token": os.environ.get(TOKEN_VARIABLE), "pid": process.pid}))
        os.read(begun, 1)  # also returns if the process has ended
    finally:
        os.close(begun)
    process.returncode = 0  # the worker reaps it: this process may end before


def finish_background(written: object, spec: Spec) -> None:
    """End the process of background tasks, and run those with `run_on_finish`. A task that runs may go on to its end,
    and the launch waits a while for it."""
    pid = _process()
    if pid is not None:
        _end(pid)
    Path(_PROCESS_FILE).unlink(missing_ok=True)
    for one in read_background_tasks(written):
        for task in one.tasks if one.run_on_finish else ():
            run_task(dict(task), dict(spec))


def _process() -> int | None:
    """Return the process that this launch has started, or None."""
    try:
        known = json.loads(Path(_PROCESS_FILE).read_text())
    except (OSError, ValueError):
        return None
    pid = known.get("pid")
    return pid if known.get("token") == os.environ.get(TOKEN_VARIABLE) and isinstance(pid, int) else None


def _end(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        wait_readable((handle,), _END_SECONDS)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def main(begins: int) -> None:
    """Run the background tasks that stdin describes, until they have run often enough or SIGTERM arrives. Close the
    descriptor `begins` when they have begun."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    order = json.load(sys.stdin)
    sys.path[:] = order["path"]
    threads = [
        threading.Thread(target=_repeat, args=(one, order["spec"], over))
        for one in read_background_tasks(order["tasks"])
    ]
    for thread in threads:
        thread.start()
    os.close(begins)
    for thread in threads:
        while thread.is_alive():  # a join without a time would keep signals waiting
            thread.join(1.0)


def _repeat(one: BackgroundTask, spec: Spec, over: threading.Event) -> None:
    launched = 0
    while not launched or not over.is_set():
        try:
            for task in one.tasks:
                run_task(dict(task), dict(spec))
        except Exception:  # noqa: BLE001 - whatever a task raises ends these tasks, and not the launch
            traceback.print_exc()
            return
        over.wait(max(0.0, one.sleep_time))
        launched += 1
        if launched == one.num_launches:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
