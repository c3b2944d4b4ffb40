"""A project in a folder, the real command line in it, and the comparison with a run in an empty folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from edited_model import SPEC, Job, Model, instances

WAIT_SECONDS = 60.0  # the longest time of a command

_SERVER = """
import gc, json, os, sys, traceback
from rekindle.cli import main, root
for entry in ("run", "jobs", "rerun", "undo", "accept", "why", "restart"):
    root.cli.get_command(None, entry)
import rekindle.engine.running.work
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(order["folder"])
        os.environ["PWD"] = order["folder"]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.stdin = open(os.devnull)
        try:
            code = main.main(order["words"])
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Commands:
    """Runs `rekindle` commands, each in a process forked from one that has imported all modules."""

    def __init__(self, scratch: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        self._out = scratch / "printed"
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, "PATH": path, "COLUMNS": "160"},
        )

    def start(self, folder: Path, words: tuple[str, ...]) -> int:
        """Start a command in a folder, and return its pid."""
        order = {"folder": str(folder), "words": words, "out": str(self._out)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._line())

    def wait(self) -> tuple[int, str]:
        """Wait for the command that was started last. Return (exit code, output)."""
        code = int(self._line())
        return code, self._out.read_text(errors="replace")

    def close(self) -> None:
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


class Wrong(AssertionError):
    """A violation of the property."""


@dataclass
class Edited:
    """The edited project: its model, its folder, and the log of all actions."""

    commands: Commands
    scratch: Path
    model: Model
    without: frozenset[str] = frozenset()
    """Names of excluded edits and features."""

    folder: Path = field(init=False)
    log: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """Job states by name, after the last `run`."""

    originals: dict[Path, str] = field(default_factory=dict)
    """The digest of each folder that was copied and then left unchanged."""

    removed: list[Job] = field(default_factory=list)
    dirty: bool = False
    """Whether there were edits since the last `run`."""

    slots: int = 1
    """`-j` of each `run`. A second slot costs the start of a second worker."""

    keep_times: bool = False
    """Whether the next written file keeps its modification time, if its size is equal."""

    _written: dict[str, str] = field(default_factory=dict)
    _folders: int = 0

    def __post_init__(self) -> None:
        self.folder = self.new_folder()
        self.folder.mkdir()

    def new_folder(self) -> Path:
        """Return an unused path in the scratch folder."""
        self._folders += 1
        return self.scratch / f"project{self._folders}"

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self.log.append(text)

    def write(self, rng: Random) -> None:
        """Write the model's text to the source files in the folder."""
        files = self.model.files()
        for name in [name for name in self._written if name not in files]:
            (self.folder / name).unlink()
        for name, text in files.items():
            if self._written.get(name) != text:
                self._write(self.folder / name, text, rng.random() < 0.5)
                if name == SPEC:
                    self.note("    | " + text.replace("\n", "\n    | ").rstrip(" |\n"))
        self._written = files
        self.keep_times = False

    def _write(self, path: Path, text: str, replace: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        was = path.stat() if path.exists() else None
        target = path.with_name(f".{path.name}.new") if replace else path
        target.write_text(text)
        target.replace(path)
        if self.keep_times and was is not None and was.st_size == len(text):
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    def rekindle(self, *words: str, folder: Path | None = None) -> tuple[int, str]:
        """Run a command to its end. Return (exit code, output)."""
        self.commands.start(folder or self.folder, words)
        code, printed = self.commands.wait()
        if folder is None and "--json" not in words:
            self.note(f"$ rekindle {' '.join(words)}    -> exit {code}")
            self.note("    > " + printed.rstrip("\n").replace("\n", "\n    > "))
        if "Traceback (most recent call last)" in printed or "unexpected" in printed:
            raise Wrong(f"rekindle {' '.join(words)} ended with an unexpected error\n{printed}")
        return code, printed

    def run(self, *flags: str, folder: Path | None = None) -> int:
        """Run `rekindle run` with the given parameters."""
        return self.rekindle(*self.run_words(*flags), folder=folder)[0]

    def run_words(self, *flags: str) -> tuple[str, ...]:
        """Return the arguments of a `run` command."""
        return ("run", SPEC, "--yes", "-j", str(self.slots), *self.given_words(), *flags)

    def given_words(self) -> tuple[str, ...]:
        """Return the --param options."""
        return tuple(word for name, value in self.model.given.items() for word in ("--param", f"{name}={value}"))

    def jobs(self, folder: Path | None = None) -> dict[str, Any]:
        """Return the workflow's jobs by name."""
        code, printed = self.rekindle("jobs", "list", "-w", "flow", "--json", folder=folder or self.folder)
        if code:
            raise Wrong(f"the jobs cannot be listed (exit {code}): {printed}")
        return {job["name"]: job for job in json.loads(printed)["jobs"] if not job["retired"]}

    def expect(self, code: int, *words: str) -> None:
        """Run a command, and assert its exit code."""
        ended, printed = self.rekindle(*words)
        if ended != code:
            raise Wrong(f"rekindle {' '.join(words)} exits with {ended}, and {code} was expected\n{printed}")

    def update(self) -> int:
        """Bring the workflow up to date, and check that the exit code agrees with its states. Return the code."""
        code = self.run()
        self._check_code(code)
        self.dirty = False
        return code

    def check_nothing_left(self, code: int) -> None:
        """Check that a second `run` does nothing and exits with the same code."""
        before = self.jobs()
        again = self.run()
        after = self.jobs()
        ran = [name for name, job in after.items() if job["attempts"] != before.get(name, {}).get("attempts")]
        if ran:
            raise Wrong(f"a second `run` ran: {', '.join(ran)}")
        if again != code:
            raise Wrong(f"a second `run` exits with {again}, the first with {code}")

    def retry_failed(self, code: int) -> int:
        """Rerun failed jobs, if there are any. Return the exit code."""
        if code != 2:
            return code
        code = self.run("--retry-failed")
        self._check_code(code)
        return code

    def check_clean(self, code: int) -> None:
        """Check that a run of the same sources in an empty folder has the same exit code, job states and outputs."""
        clean = self.scratch / "clean"
        shutil.rmtree(clean, ignore_errors=True)
        for name, text in self.model.files().items():
            path = clean / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        fresh = self.run(folder=clean)
        states = {name: job["state"] for name, job in self.jobs(clean).items()}
        wrong: list[str] = []
        if fresh != code:
            wrong.append(f"exit code: {code} here, {fresh} in an empty folder")
        wrong += [
            f"{name}: {self.states.get(name)} here, {states.get(name)} in an empty folder"
            for name in sorted({*states, *self.states})
            if states.get(name) != self.states.get(name)
        ]
        for _, name, paths in ((job, name, job.outputs(value)) for job, name, value in instances(self.model)):
            if states.get(name) == "completed":
                wrong += [line for path in paths.values() for line in _differences(self.folder, clean, path, name)]
        if wrong:
            wrong.append(self.rekindle("why", "-w", "flow", folder=self.folder)[1])
            raise Wrong("incremental differs from clean\n" + "\n".join(wrong))

    def interrupt(self) -> None:
        """Start `run`, and interrupt it while a job runs, if a job waits at the gate."""
        gate, waiting = self.scratch / "gate", self.scratch / "waiting"
        waiting.unlink(missing_ok=True)
        gate.touch()
        words = self.run_words()
        pid = self.commands.start(self.folder, words)
        deadline = time.monotonic() + WAIT_SECONDS
        while not waiting.exists() and _lives(pid) and time.monotonic() < deadline:
            time.sleep(0.005)
        if waiting.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        code, printed = self.commands.wait()
        gate.unlink()
        self.note(f"$ rekindle {' '.join(words)}    interrupted: {waiting.exists()} -> exit {code}")
        self.note("    > " + printed.rstrip("\n").replace("\n", "\n    > "))

    def move(self) -> None:
        """Rename the project's folder."""
        old, self.folder = self.folder, self.new_folder()
        old.rename(self.folder)

    def copy(self) -> None:
        """Copy the project's folder, and continue in the copy."""
        old, self.folder = self.folder, self.new_folder()
        shutil.copytree(old, self.folder, symlinks=True)
        self.originals[old] = _tree(old)

    def check_originals(self) -> None:
        """Check that the copied folders are unchanged."""
        for folder, digest in self.originals.items():
            if _tree(folder) != digest:
                raise Wrong(f"{folder.name} was copied and left, and has changed since")

    def _check_code(self, code: int) -> None:
        self.states = {name: job["state"] for name, job in self.jobs().items()}
        there = set(self.states.values())
        expected = 2 if "failed" in there else 0
        if code != expected:
            counted = ", ".join(f"{name} {state}" for name, state in self.states.items() if state != "completed")
            raise Wrong(f"`run` exits with {code}, and {expected} was expected ({counted or 'all are completed'})")
        if "failed" not in there and there - {"completed"}:
            raise Wrong(f"`run` has left jobs: {self.states}")


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}
    return {"": path.read_bytes()} if path.exists() else {}


def _differences(folder: Path, clean: Path, path: str, name: str) -> list[str]:
    here, there = _files(folder / path), _files(clean / path)
    return [
        f"{Path(path, file)} of {name}:\n  here  {_shown(here.get(file))}\n  clean {_shown(there.get(file))}"
        for file in sorted({*here, *there})
        if here.get(file) != there.get(file)
    ]


def _shown(content: bytes | None) -> str:
    return "is missing" if content is None else content.decode(errors="replace").replace("\n", " | ")


def _tree(folder: Path) -> str:
    digest = hashlib.blake2b()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)} {path.lstat().st_mode}\n".encode())
        if path.is_file() and not path.name.endswith(("-shm", "-wal")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
