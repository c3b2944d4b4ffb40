"""A project folder, and the real command line run in it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any
from unittest import mock

import psutil

from forked_commands import COMMAND, ForkedCommand, can_fork
from rekindle.cli.main import main
from rekindle.store.opening import open_store

WAIT_SECONDS = 120.0  # the longest wait for a condition
READS = [("jobs", "list"), ("attempts", "list"), ("attempts", "show"), ("events", "list"), ("status",)]
"""Commands that `Project.ask` runs in this process, which takes a twentieth of the processor time: tests repeat them
until a condition holds."""


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.005)
    return value


class Project:
    """A folder with a spec, in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.command = [str(COMMAND)]  # a host forks it; any other command is a new process
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
        # Specs call `python3`: the interpreter that runs the tests must be found first.
        self.env = {**kept, "PATH": f"{COMMAND.parent}{os.pathsep}{kept['PATH']}"}

    def spec(self, text: str) -> None:
        """Write spec.yaml."""
        self.write("spec.yaml", text)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        pipe = subprocess.PIPE
        with self._start(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess([*self.command, *words], process.returncode, out, err)

    def _start(self, words: Sequence[str], **streams: Any) -> subprocess.Popen[Any]:
        start = ForkedCommand if can_fork(self.command, self.env) else subprocess.Popen
        return start([*self.command, *words], cwd=self.folder, env=self.env, **streams)

    def rekindle(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and assert its exit code."""
        done = self.run(*words)
        assert done.returncode == expect, f"rekindle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback (most recent call last)" not in done.stderr
        return done

    def ask(self, *words: str, expect: int = 0) -> Any:
        """Run a command with --json, and return the document."""
        if self.command == [str(COMMAND)] and any(words[: len(read)] == read for read in READS):
            return json.loads(self._read(*words, "--json"))
        return json.loads(self.rekindle(*words, "--json", expect=expect).stdout)

    def _read(self, *words: str) -> str:
        """Run a command in this process, with the environment and folder of a process. Return what it prints."""
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch.object(sys, "excepthook"),  # main() replaces it
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            assert main(words) == 0, words
        return out.getvalue()

    def start(
        self, *words: str, stdout: int | IO[bytes] = subprocess.DEVNULL, stderr: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a command in the background, in a session of its own."""
        process = self._start(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True)
        self.started.append(process)
        return process

    def close(self) -> None:
        """Kill the processes that a failed test has left."""
        for process in self.started:
            if process.poll() is None:
                for below in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        below.kill()
                process.kill()
                process.wait(timeout=60)

    def has_store(self) -> bool:
        """Return whether a command that was started has made the store."""
        return any((self.folder / ".rekindle" / name).exists() for name in ("store.db", "database"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the store's database, and return its rows."""
        store = open_store(str(self.folder / ".rekindle"), create=False)
        with closing(store), store.write() as archive:
            cursor = archive.database.driver.execute(statement, {})
            return cursor.fetchall() if cursor.description else []

    def jobs(self, *flags: str) -> dict[str, dict[str, Any]]:
        """Return the jobs by name."""
        return {job["name"]: job for job in self.ask("jobs", "list", *flags)["jobs"]}

    def states(self, *flags: str) -> dict[str, str]:
        """Return the states by job name."""
        return {name: job["state"] for name, job in self.jobs(*flags).items()}

    def attempts(self, *flags: str) -> list[dict[str, Any]]:
        return self.ask("attempts", "list", *flags)["attempts"]

    def ran(self, name: str = "ran.txt") -> list[str]:
        """Return the lines that jobs have appended to a file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []
