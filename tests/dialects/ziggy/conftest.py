from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ziggy_sample import Pipeline

from made_once import made_once


@pytest.fixture
def pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The sample pipeline in its own folder, before any run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main sets sys.excepthook; restore it after the test
    return Pipeline(tmp_path, capsys)


@pytest.fixture
@made_once
def failed(pipeline: Pipeline) -> Pipeline:
    """The sample after a run in which subtask 0 of each permuter task failed: tasks 1 and 2 of instance 1."""
    pipeline.console("start", "sample", "Test 1", "--work", "-j", "2", expect=2)
    pipeline.ran()
    return pipeline
