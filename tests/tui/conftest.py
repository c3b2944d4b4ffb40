"""Folders with workflows that ran."""

from __future__ import annotations

from pathlib import Path

import pytest
from top_screen import run_workflow

ALLOYS = """\
name: alloys
jobs:
  prepare: {run: "true"}
  train:
    matrix: {alpha: [0.1, 0.5, 0.9]}
    needs: [prepare]
    outputs: {model: "model-${matrix.alpha}.txt"}
    steps:
      - {name: fit, run: "echo fitted >> model-${matrix.alpha}.txt; echo ${matrix.alpha} >> fits.txt"}
      - {name: check, run: "echo no such alloy >&2; test ${matrix.alpha} = 0.1 || test -e mended"}
  report: {needs: ["train*"], run: "true"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    return tmp_path


@pytest.fixture
def alloys(folder: Path) -> Path:
    """A store with a workflow of which two jobs failed in their second step."""
    assert run_workflow(folder, ALLOYS) == 2
    return folder / ".rekindle"
