"""FireWorks' commands, run in a folder."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main

PLACE = "LPAD_PLACE"
"""The environment variable with the test's folder, for scripts."""

CHAIN = """\
name: chain
metadata: {project: alloys}
fws:
- fw_id: 1
  name: prep
  spec:
    alpha: 0.5
    _tasks:
    - {_fw_name: PyTask, func: builtins.sum, args: [[1, 2, 3]], outputs: [total]}
- fw_id: 2
  name: relax
  spec:
    alpha: 1.5
    _tasks:
    - {_fw_name: ScriptTask, script: "echo one >> trace; echo one >> $LPAD_PLACE/log", use_shell: true}
    - {_fw_name: ScriptTask, script: "echo two >> trace; echo two >> $LPAD_PLACE/log", use_shell: true}
    - {_fw_name: ScriptTask, script: "echo three >> $LPAD_PLACE/log; test -e $LPAD_PLACE/mended", use_shell: true}
    - {_fw_name: ScriptTask, script: "cat trace > $LPAD_PLACE/result", use_shell: true}
- fw_id: 3
  name: after
  spec: {_tasks: [{_fw_name: ScriptTask, script: "true"}]}
- fw_id: 4
  name: odd
  spec: {_tasks: [{_fw_name: PyTask, func: builtins.int, args: [My custom error message]}]}
- fw_id: 5
  name: fine
  spec: {_tasks: [{_fw_name: ScriptTask, script: "true"}]}
links: {1: [2], 2: [3]}
"""
"""After one run prep and fine are COMPLETED, relax FIZZLED in its third task, odd FIZZLED, and after waits."""

PREP, RELAX, AFTER, ODD, FINE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Done:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


class Lpad:
    """`rekindle lpad …` in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def rekindle(self, *words: str) -> Done:
        """Run a rekindle command in this process."""
        self._capture.readouterr()
        code = main(words)
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def __call__(self, *words: str | int) -> Done:
        """Run an lpad command in this process."""
        return self.rekindle("lpad", *(str(word) for word in words))

    def ok(self, *words: str | int) -> Done:
        """Run an lpad command that has to succeed."""
        done = self(*words)
        assert done.code == 0, done.err
        return done

    def json(self, *words: str | int) -> Any:
        """Return the single document of a command that has to succeed."""
        return json.loads(self.ok(*words).out)

    def each(self, *words: str | int) -> list[Any]:
        """Return the printed documents. A single one is printed without a list."""
        found = self.json(*words)
        return found if isinstance(found, list) else [found]

    def states(self) -> dict[str, str]:
        """Return values by firework name."""
        return {one["name"]: one["state"] for one in self.each("get_fws")}

    def of(self, number: int) -> dict[str, Any]:
        """Return the whole document of a firework."""
        found: dict[str, Any] = self.json("get_fws", "-i", number, "-d", "all")
        return found

    def work(self) -> int:
        """Run the ready fireworks. Returns the exit code."""
        return self.rekindle("work", "-j", "2").code

    def log(self) -> list[str]:
        """Return what tasks have logged since the last call."""
        path = self.folder / "log"
        words = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return words

    def shell(self, line: str) -> Done:
        """Run a shell line with `lpad` installed."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def add(self, text: str, name: str = "workflow.yaml") -> Done:
        """Store a workflow."""
        (self.folder / name).write_text(text)
        return self.ok("add", name)
