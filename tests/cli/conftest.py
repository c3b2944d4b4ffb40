"""Fixtures with a project folder and its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_shell import Shell

from made_once import made_once


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line in an empty folder, on 80 columns, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main sets it; restore it afterwards
    return Shell(tmp_path, capsys)


DIAMOND = """\
name: diamond
jobs:
  top: {run: echo made the top}
  left:
    needs: [top]
    steps:
      - {name: prepare, run: echo prepared}
      - {name: check, run: "echo looking; echo 'no such alloy: Xy' >&2; test -e mended"}
  right: {needs: [top], run: "true"}
  bottom: {needs: [left, right], run: "true"}
"""


@pytest.fixture
@made_once
def diamond(shell: Shell) -> Shell:
    """A workflow with one branch that failed in its second step."""
    shell.write(DIAMOND)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    return shell


@pytest.fixture(scope="session")
def diamond_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run diamond workflow, shared by tests that change nothing."""
    folder = tmp_path_factory.mktemp("diamond")
    (folder / "spec.yaml").write_text(DIAMOND)
    command = [str(Path(sys.executable).parent / "rekindle"), "--store", ".rekindle", "run", "spec.yaml", "-j", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return folder


@pytest.fixture
def still(shell: Shell, diamond_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """As `diamond`, for a test that changes nothing."""
    monkeypatch.chdir(diamond_folder)
    shell.folder = diamond_folder
    return shell
