"""Real Slurm clusters, from Debian's packages, on this host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from shared import shared

SCRIPT = Path(__file__).parent.parent / "scripts" / "slurm-cluster"

PROGRAMS = ["munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "sbatch"]


class Slurm:
    """A running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = str(folder / "etc" / "slurm.conf")
        self.environment = {**os.environ, "SLURM_CONF": self.conf, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def call(self, *command: str) -> str:
        """Run a command of Slurm; return what it prints."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def process(self, daemon: str) -> int:
        """Return the process of a daemon: `slurmctld`, or `slurmd-n1` and the like."""
        return int((self.folder / "run" / f"{daemon}.pid").read_text())

    def start_controller(self) -> None:
        """Start the controller again, and wait until it answers."""
        self.call("slurmctld")
        until(lambda: subprocess.run(["scontrol", "ping"], env=self.environment, capture_output=True).returncode == 0)
        until(lambda: self.call("sinfo", "-h", "-N", "-p", "main", "-t", "idle,mixed,allocated").strip())


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)


def require_slurm() -> None:
    """Skip the test if Slurm is not installed; in continuous integration, fail."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        reason = f"no Slurm ({missing[0]} is missing): scripts/debian-packages installs it as root"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@contextmanager
def running_slurm(*arguments: str) -> Iterator[Slurm]:
    """Run a cluster; the arguments are those of `scripts/slurm-cluster start` after the folder."""
    require_slurm()
    # Not in pytest's temporary folder: paths of sockets are at most 107 characters long.
    folder = Path(mkdtemp(prefix="rekindle-slurm-"))
    try:
        subprocess.run([SCRIPT, "start", folder, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=90)
        yield Slurm(folder)
    finally:
        _stop(str(folder))


@contextmanager
def shared_slurm(folder: Path) -> Iterator[Slurm]:
    """Use a cluster with accounting that all processes of a test run share. `folder` belongs to the test run."""
    require_slurm()
    with shared(folder, "slurm", _start_with_accounting, _stop) as place:
        yield Slurm(Path(place))


def _start_with_accounting() -> str:
    folder = mkdtemp(prefix="rekindle-slurm-")
    try:
        subprocess.run([SCRIPT, "start", folder, "accounting"], check=True, stdout=subprocess.DEVNULL, timeout=90)
    except subprocess.SubprocessError:
        _stop(folder)
        raise
    return folder


def _stop(folder: str) -> None:
    subprocess.run([SCRIPT, "stop", folder], check=True, stdout=subprocess.DEVNULL, timeout=60)
    shutil.rmtree(folder)
