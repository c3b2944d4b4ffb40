"""The sweep of demo/run.py beyond one machine: as arrays of Slurm, then by runners in jobs of Slurm.

The first has a store in a file, the second one in PostgreSQL. scripts/slurm-cluster and scripts/postgres-server start
both servers on this host, and stop them when the demo ends, also by Ctrl-C.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from run import NotProved, Project, copy_of_sweep, heading, play, report

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
INTERRUPTED = 130  # the exit code after Ctrl-C
PILOT_SECONDS = 600  # at most
LOOK_SECONDS = 2


class ArrayProject(Project):
    """Runs the sweep as arrays of Slurm."""

    def __init__(self, folder: Path, conf: str) -> None:
        super().__init__(folder)
        self.env |= {"SLURM_CONF": conf, "REKINDLE_EXECUTOR": "slurm"}

    def run(self) -> None:
        """Show the variable that chooses the executor. All commands are those of one machine."""
        print("\n$ export REKINDLE_EXECUTOR=slurm")
        super().run()


class PilotProject(Project):
    """Runs the sweep with runners in jobs of Slurm."""

    def __init__(self, folder: Path, conf: str, server: str) -> None:
        super().__init__(folder)
        self.env |= {"SLURM_CONF": conf, "REKINDLE_STORE": server}

    def run(self) -> None:
        """Submit the sweep into PostgreSQL, and start runners."""
        print(f"\n$ export REKINDLE_STORE={shlex.quote(self.env['REKINDLE_STORE'])}")
        self.show("submit sweep.yaml")
        self._run_pilots()

    def run_again(self) -> None:
        """Make the failed trainings ready, and start runners."""
        self.show("rerun -s failed --yes")
        self._run_pilots()

    def _run_pilots(self) -> None:
        self.show("slurm schedule-nodes -n 2 -- --cpus-per-task=4 --time=10")
        began = time.monotonic()
        while {one["phase"] for row in self.ask("slurm list")["submissions"] for one in row["seen"]} != {"ended"}:
            seconds = time.monotonic() - began
            if seconds > PILOT_SECONDS:
                raise NotProved(f"the Slurm jobs have not ended after {PILOT_SECONDS} s")
            [sweep] = self.ask("status")["workflows"]
            counts = ", ".join(f"{number} {state}" for state, number in sweep["counts"].items() if number)
            print(f"{counts} after {seconds:.0f} s", flush=True)
            time.sleep(LOOK_SECONDS)
        self.show("slurm list")
        self.show("status")


@contextmanager
def started(script: str, what: str) -> Iterator[str]:
    """Start a server in a temporary folder; yield what the script prints. Stop it afterwards."""
    # A folder of its own, directly in the system's: as root, PostgreSQL runs as another user, and paths of sockets are
    # short.
    with tempfile.TemporaryDirectory(prefix="rk-") as folder:
        print(f"\n$ scripts/{script} start {folder}", flush=True)
        try:
            done = subprocess.run([SCRIPTS / script, "start", folder], stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                raise NotProved(f"{what} cannot be started here")
            print(done.stdout.strip(), flush=True)
            yield done.stdout.strip()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # another Ctrl-C does not keep it from being stopped
            print(f"\n$ scripts/{script} stop {folder}", flush=True)
            subprocess.run([SCRIPTS / script, "stop", folder], stdout=subprocess.DEVNULL, check=False)
            signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Run the sweep both ways."""
    heading("A Slurm of 4 nodes, all on this host")
    # The folders outlive the cluster, whose jobs write into them.
    with copy_of_sweep() as first, copy_of_sweep() as second, started("slurm-cluster", "Slurm") as variable:
        conf = variable.partition("=")[2]
        heading("1. Arrays of Slurm, with a store in a file (SQLite)")
        play(ArrayProject(first, conf))
        heading("2. Runners in jobs of Slurm, with a store in PostgreSQL")
        with started("postgres-server", "PostgreSQL") as server:
            play(PilotProject(second, conf, server))


if __name__ == "__main__":
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(report(main))
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
