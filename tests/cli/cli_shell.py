"""Run the command line in a folder."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main
from rekindle.domain.texts.substitution import render_text
from rekindle.spec import load


@dataclass(frozen=True)
class Done:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)


class Shell:
    """Runs commands in its own folder, in this process."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def __call__(self, *words: str) -> Done:
        self._capture.readouterr()
        code = main(words)
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def write(self, text: str, name: str = "spec.yaml") -> str:
        """Write a file in the folder and return its name."""
        (self.folder / name).write_text(textwrap.dedent(text))
        return name


def commands_of(path: Path) -> dict[str, list[str]]:
    """Each job's commands in a spec file, with all references replaced."""
    found = load(path)
    commands: dict[str, list[str]] = {}
    for job in found.jobs:
        scope = {"params": found.params, "matrix": job.binding, "job": {"name": job.name}}
        steps = found.templates[job.template].steps
        commands[job.name] = [render_text(one.run, scope) for one in steps if isinstance(one.run, str)]
    return commands
