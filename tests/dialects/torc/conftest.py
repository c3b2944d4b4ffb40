"""Fixtures: a project folder in which torc's commands run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torc_folder import DIAMOND, FAILING, Torc

from made_once import made_once


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the executables of `rekindle dialects install`."""
    folder = tmp_path_factory.mktemp("bin")
    subprocess.run([sys.executable, "-m", "rekindle", "dialects", "install", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def torc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, executables: Path
) -> Torc:
    """`rekindle torc` in an empty folder, without a terminal."""
    monkeypatch.chdir(tmp_path)
    for name in ("REKINDLE_STORE", "TORC_WORKFLOW_KEY", "TORC_WORKFLOW_ID"):
        monkeypatch.delenv(name, raising=False)
    path = [str(executables), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() replaces it
    return Torc(tmp_path, capsys)


@pytest.fixture
def diamond(torc: Torc) -> Torc:
    """Four jobs with files between them, run to the end."""
    torc.write("raw.csv", "b\na\n")
    torc.create(DIAMOND)
    assert torc("jobs", "run", "-j", "2").code == 0
    return torc


@pytest.fixture
@made_once
def failing(torc: Torc) -> Torc:
    """Four jobs without files; one failed with 1 and one with 3."""
    torc.create(FAILING)
    assert torc("jobs", "run", "-j", "2").code == 2
    return torc
