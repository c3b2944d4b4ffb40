"""Hosts for tests: pid, mount and UTS namespaces of this machine, each with a host name and a boot id of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

from faketime import faketime_library
from project_folder import Project, until
from rekindle.journal.processes import children_of, start_of

LEASE_SECONDS, SILENT_SECONDS, TOUCH_SECONDS, FENCE_SECONDS = 6.0, 4.0, 0.3, 2.0
"""In place of 30, 60, 5 and 30 seconds."""

COMMAND = f"""
import sys
sys.executable = sys.argv.pop(1)  # workers are started with it
from rekindle.engine.running import lease
from rekindle.executors import dead_workers
lease.LEASE_SECONDS, lease.RENEW_SECONDS = {LEASE_SECONDS}, {LEASE_SECONDS / 3}
dead_workers.SILENT_SECONDS = {SILENT_SECONDS}
if sys.argv[1] == "--only-notified":  # the store is read for no other reason
    del sys.argv[1]
    lease.PEER_CHECK_SECONDS = 3600.0
    lease.LEASE_SECONDS, lease.RENEW_SECONDS = 7200.0, 3600.0
from rekindle.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

WORKER = f"""#!{sys.executable} -P
import sys
from rekindle.worker import heartbeat
heartbeat.TOUCH_SECONDS, heartbeat.FENCE_SECONDS = {TOUCH_SECONDS}, {FENCE_SECONDS}
from rekindle.worker.__main__ import main
main(sys.argv[4:])  # after -P -m rekindle.worker
"""

_numbers = count(1)
_UNSHARE = ("unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SEPARATE = f'mount --bind "$1" {_BOOT_ID} && hostname "$2"'


@cache
def missing_namespaces() -> str | None:
    """Return why no separate host can be made; None if one can."""
    argv = [*_UNSHARE, "sh", "-c", _SEPARATE, "sh", "/etc/hostname", "probe"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        return "unshare is not installed"
    return f"namespaces cannot be made: {done.stderr.strip()}" if done.returncode else None


class HostCommand(NamedTuple):
    """A command that was started on a host."""

    process: subprocess.Popen[bytes]  # its child is the command's own process
    said: Path

    @property
    def pid(self) -> int:
        """The command's own process."""
        [pid] = children_of(self.process.pid)
        return pid

    def finish(self, expect: int = 0) -> str:
        """Wait for its end, and return what it printed."""
        code = self.process.wait(timeout=120)
        assert code == expect, self.said.read_text()
        return self.said.read_text()


class SeparateHost:
    """A host on which commands run in the folder of a project."""

    def __init__(self, name: str, project: Project) -> None:
        self._project = project
        boot_id = project.folder / f"{name}.boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        self._worker = project.folder / f"{name}.worker"
        self._worker.write_text(WORKER)
        self._worker.chmod(0o755)
        wait = f'{_SEPARATE} && : > "$1.ready" && exec sleep infinity'
        self._holder = subprocess.Popen([*_UNSHARE, "sh", "-c", wait, "sh", str(boot_id), name], start_new_session=True)
        project.started.append(self._holder)
        until(Path(f"{boot_id}.ready").exists, f"{name} is there")
        [self._init] = children_of(self._holder.pid)

    def start(self, *words: str, clock: str | None = None) -> HostCommand:
        """Start a command. `clock`: how far the host's clock is off, as libfaketime takes it."""
        env = self._project.env
        if clock is not None:
            env = {**env, "LD_PRELOAD": str(faketime_library()), "FAKETIME": clock, "NO_FAKE_STAT": "1"}
        argv = ["nsenter", "-t", str(self._init), "-u", "-p", "-m", "--", "sh", "-c", 'cd "$0" && exec "$@"']
        argv += [str(self._project.folder), sys.executable, "-P", "-c", COMMAND, str(self._worker), *words]
        said = self._project.folder / f"said-{next(_numbers)}"
        with said.open("w") as file:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self._project.started.append(process)
        return HostCommand(process, said)

    def processes(self) -> list[int]:
        """Return the living processes of the host, without its first."""
        space = _space(self._init)
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        here = [pid for pid in pids if pid != self._init and space is not None and _space(pid) == space]
        return [pid for pid in here if start_of(pid) is not None]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each process; twice, for those that are being made meanwhile."""
        for _ in range(2):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """Kill every process at once, as if its power was cut."""
        os.kill(self._init, signal.SIGKILL)
        self._holder.wait(timeout=60)


def _space(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None
