"""Projects on pairs of a database and an executor: each has the same verbs, for tests that run on all pairs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

import slurm_cluster
from process_placement import processes_environment
from project_folder import Project, until
from rekindle.store.opening import open_store
from slurm_cluster import Slurm
from stores import new_store_url

SECONDS = 120
"""The longest wait for a runner's end."""


class Pair(Project):
    """A project whose runners are `rekindle run` and `rekindle work` on this host, whatever executor they use."""

    runner: subprocess.Popen[bytes] | None = None  # the one that `begin` has started

    def bring_up(self, *, expect: int = 0) -> None:
        """Submit spec.yaml, and let everything run that can. The runners' exit code is `expect`."""
        self.rekindle("run", "spec.yaml", "-j", "2", expect=expect)

    def rerun(self, *words: str) -> None:
        """Rerun jobs, and let everything run that can. All of it succeeds."""
        self.rekindle("rerun", *words, "--yes", "--work", "-j", "2")

    def work(self) -> None:
        """Let everything run that can. All of it succeeds."""
        self.rekindle("work", "-j", "2")

    def begin(self) -> None:
        """Submit spec.yaml and start a runner."""
        self.runner = self.start("run", "spec.yaml", "-j", "2")

    def kill_runner(self) -> None:
        """Kill the runner that was begun, without its workers, and wait until it is gone."""
        assert self.runner is not None
        self.runner.kill()
        self.runner.wait(SECONDS)

    def exit_code(self) -> int:
        """Wait until the runner that was begun has ended; return its exit code."""
        assert self.runner is not None
        return self.runner.wait(SECONDS)

    def supervise(self, *words: str, expect: int) -> None:
        """Supervise a workflow to its end."""
        self.rekindle("supervise", *words, expect=expect)


class PilotPair(Pair):
    """A project whose runners are pilots: they are started for what is ready, and end when nothing is left."""

    def start_pilots(self, number: int) -> None:
        """Start pilots."""
        raise NotImplementedError

    def exit_codes(self) -> list[int]:
        """Wait until the newest pilots have ended; return their exit codes."""
        raise NotImplementedError

    def bring_up(self, *, expect: int = 0) -> None:
        self.rekindle("submit", "spec.yaml")
        if "ready" in self.states().values():
            self.start_pilots(2)
            assert max(self.exit_codes()) == expect
        self.work()

    def rerun(self, *words: str) -> None:
        self.rekindle("rerun", *words, "--yes")
        self.work()

    def work(self) -> None:
        deadline = time.monotonic() + SECONDS
        # What a dead pilot had may be given to others after they have ended: then more are started.
        while {"ready", "queued", "running"} & set(self.states().values()):
            assert time.monotonic() < deadline, self.states()
            self.start_pilots(2)
            assert set(self.exit_codes()) == {0}

    def begin(self) -> None:
        self.rekindle("submit", "spec.yaml")
        self.start_pilots(1)

    def exit_code(self) -> int:
        [code] = self.exit_codes()
        return code

    def supervise(self, *words: str, expect: int) -> None:
        supervisor = self.start("supervise", *words, "--no-work")

        def has_ended() -> bool:
            until(lambda: supervisor.poll() is not None or "ready" in self.states().values(), "it ends or reruns jobs")
            return supervisor.poll() is not None

        while not has_ended():
            self.start_pilots(1)
            self.exit_codes()
        assert supervisor.returncode == expect


class SlurmPilots(PilotPair):
    """Pilots in jobs of Slurm, which open the store."""

    cluster: Slurm
    job = 0  # the newest

    def start_pilots(self, number: int) -> None:
        words = ("schedule-nodes", "-n", str(number), "--", "--cpus-per-task=2", "--time=5")
        [self.job] = map(int, re.findall(r"as (\d+) for", self.rekindle("slurm", *words).stdout))

    def exit_codes(self) -> list[int]:
        phases = ("squeue", "-h", "-j", str(self.job), "-t", "pending,running,completing")
        slurm_cluster.until(lambda: not self.cluster.call(*phases).strip(), SECONDS)
        return [int(code) for code in re.findall(r"ExitCode=(\d+):", self._shown())]

    def kill_runner(self) -> None:
        [workflow] = self.ask("status")["workflows"]
        [runner] = workflow["runners"]
        psutil.Process(runner["pid"]).kill()
        slurm_cluster.until(lambda: "JobState=FAILED" in self._shown(), SECONDS)

    def _shown(self) -> str:
        return self.cluster.call("scontrol", "show", "job", str(self.job))

    def close(self) -> None:
        self.run("slurm", "cancel")
        super().close()


class HttpPilots(PilotPair):
    """Pilots that work for a server of the store, with a token."""

    url = ""
    pilots: list[subprocess.Popen[bytes]]  # the newest

    def start_pilots(self, number: int) -> None:
        if not self.url:
            self._serve()
        words = ("work", "--server", self.url, "--token-file", "token", "-j", "2")
        self.pilots = [self.start(*words) for _ in range(number)]

    def _serve(self) -> None:
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(self.rekindle("token", "new", "--scope", "pilot").stdout)
        output = self.folder / "serve.txt"
        with open(output, "wb") as file:
            self.start("serve", "--port", "0", "--pilot-timeout", "3s", stdout=file, stderr=file)
        self.url = until(lambda: output.read_text().partition(" at ")[2].partition("\n")[0], "it serves")

    def exit_codes(self) -> list[int]:
        return [pilot.wait(SECONDS) for pilot in self.pilots]

    def kill_runner(self) -> None:
        [pilot] = self.pilots
        pilot.kill()
        pilot.wait(SECONDS)


def _local(request: pytest.FixtureRequest, folder: Path) -> Pair:
    return Pair(folder)


def _processes(request: pytest.FixtureRequest, folder: Path) -> Pair:
    pair = Pair(folder)
    pair.env |= processes_environment(folder)
    return pair


def _slurm_arrays(request: pytest.FixtureRequest, folder: Path) -> Pair:
    pair = Pair(folder)
    pair.env |= {**_slurm_environment(request), "REKINDLE_EXECUTOR": "slurm"}
    return pair


def _slurm_pilots(request: pytest.FixtureRequest, folder: Path) -> Pair:
    pair = SlurmPilots(folder)
    pair.cluster = request.getfixturevalue("slurm")
    pair.env |= _slurm_environment(request)
    return pair


def _slurm_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    cluster: Slurm = request.getfixturevalue("slurm")
    return {name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")}


def _http_pilots(request: pytest.FixtureRequest, folder: Path) -> Pair:
    return HttpPilots(folder)


def _dask(request: pytest.FixtureRequest, folder: Path) -> Pair:
    pair = Pair(folder)
    pair.env |= {"REKINDLE_EXECUTOR": "dask", "REKINDLE_ADDRESS": request.getfixturevalue("dask")}
    return pair


PAIRS: dict[str, Callable[[pytest.FixtureRequest, Path], Pair]] = {
    "sqlite+local": _local,
    "postgres+local": _local,
    "sqlite+processes": _processes,
    "sqlite+slurm": _slurm_arrays,
    "postgres+pilots": _slurm_pilots,
    "sqlite+http": _http_pilots,
    "sqlite+dask": _dask,
}


@contextmanager
def project_on(name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Pair]:
    """Make a project on a pair in an empty folder. Afterwards the store is checked."""
    if name.startswith("postgres+"):
        url = new_store_url(request.getfixturevalue("postgres_server"), folder / ".rekindle")
        with closing(open_store(url, create=True)):
            pass  # from now on the folder names the store
    pair = PAIRS[name](request, folder)
    yield pair
    pair.close()
    assert pair.ask("store", "check", "--deep")["sound"]
