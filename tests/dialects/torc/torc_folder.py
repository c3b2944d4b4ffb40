"""torc's commands, run in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main
from rekindle.journal.processes import start_of

DIAMOND = """\
name: diamond
files:
  - {name: raw, path: raw.csv}
  - {name: first, path: first.txt}
  - {name: left, path: left.txt}
  - {name: right, path: right.txt}
  - {name: last, path: last.txt}
jobs:
  - {name: top, command: "cp ${files.input.raw} ${files.output.first}"}
  - {name: left, command: "sort ${files.input.first} > ${files.output.left}"}
  - {name: right, command: "tac ${files.input.first} > ${files.output.right}"}
  - {name: bottom, command: "cat ${files.input.left} ${files.input.right} > ${files.output.last}"}
"""

FAILING = """\
name: failing
jobs:
  - {name: good, command: "true"}
  - {name: bad, command: "echo tried >> tries; test -e mended"}
  - {name: worse, command: "test -e mended || exit 3"}
  - {name: below, command: "true", depends_on: [bad]}
"""


@dataclass(frozen=True)
class Done:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


class Torc:
    """`rekindle torc …` in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def __call__(self, *words: str) -> Done:
        """Run a torc command in this process."""
        self._capture.readouterr()
        code = main(["torc", *words])
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def json(self, *words: str) -> Any:
        """Return the single document of a command that has to succeed."""
        done = self("-F", "json", *words)
        assert done.code == 0, done.err
        return json.loads(done.out)

    def shell(self, line: str) -> Done:
        """Run a shell line with `torc` installed."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def create(self, spec: str, name: str = "workflow.yaml", *flags: str) -> Done:
        """Store a spec."""
        self.write(name, spec)
        done = self("workflows", "create", *flags, name)
        assert done.code == 0, done.err
        return done

    def statuses(self, *filters: str) -> dict[str, str]:
        """Return values by job name."""
        words = [word for one in filters for word in ("-f", one)]
        return {job["name"]: job["status"] for job in self.json("jobs", "list", *words)["jobs"]}

    def keys(self) -> dict[str, str]:
        """Return values by job name."""
        return {job["name"]: job["key"] for job in self.json("jobs", "list")["jobs"]}

    def again(self) -> set[str]:
        """Return the jobs that a restart would run again."""
        return {job["name"] for job in self.json("workflows", "restart", "--dry-run")["jobs"]}


def kill_runner(torc: Torc, file: str, job: str) -> None:
    """Run the ready jobs until a job has made this file, then kill the runner with its worker and the job: the job
    stays `submitted`."""
    runner = subprocess.Popen(["torc", "jobs", "run"], cwd=torc.folder, start_new_session=True)
    try:
        wait_for(torc.folder / file)
        wait_until(lambda: torc.statuses()[job] == "submitted")
    finally:
        killed = descendants(runner.pid)
        for pid in [runner.pid, *killed]:  # the runner first: it would record how the others end
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        runner.wait()
    wait_until(lambda: not any(map(start_of, killed)))
    assert torc.statuses()[job] == "submitted"


def wait_for(path: Path) -> None:
    """Wait until a file exists."""
    wait_until(path.exists)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the descendants of a process, nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]
