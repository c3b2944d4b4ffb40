"""Fixtures: a project folder in which FireWorks' commands run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lpad_folder import CHAIN, PLACE, Lpad


@pytest.fixture(scope="session")
def lpad_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the executables of `rekindle dialects install`."""
    folder = tmp_path_factory.mktemp("bin")
    subprocess.run([sys.executable, "-m", "rekindle", "dialects", "install", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def lpad(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lpad:
    """`rekindle lpad` in an empty folder, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    monkeypatch.setenv(PLACE, str(tmp_path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() replaces it
    return Lpad(tmp_path, capsys)


@pytest.fixture(scope="session")
def chain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the chain has run, made once for all tests."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "chain.yaml").write_text(CHAIN)
    env = {**os.environ, PLACE: str(folder)}
    env.pop("REKINDLE_STORE", None)
    for words in (["lpad", "add", "chain.yaml"], ["work", "-j", "2"]):
        subprocess.run([sys.executable, "-m", "rekindle", *words], cwd=folder, env=env, check=False)
    return folder


@pytest.fixture
def chain(lpad: Lpad, chain_folder: Path) -> Lpad:
    """A copy of the store in which the chain has run."""
    shutil.copytree(chain_folder / ".rekindle", lpad.folder / ".rekindle")
    return lpad
