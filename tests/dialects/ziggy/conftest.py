from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from xml_sample import XmlPipeline
from ziggy_sample import Pipeline

from made_once import made_once


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    for name in ("REKINDLE_STORE", "PIPELINE_CONFIG_PATH", "ZIGGY_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main sets sys.excepthook; restore it after the test
    return tmp_path


@pytest.fixture
def pipeline(folder: Path, capsys: pytest.CaptureFixture[str]) -> Pipeline:
    """The sample pipeline in its own folder, before any run."""
    return Pipeline(folder, capsys)


@pytest.fixture
def sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> XmlPipeline:
    """The sample pipeline of definition files in XML in its own folder, before a delivery."""
    return XmlPipeline(folder, capsys)


@pytest.fixture
def delivered(sample: XmlPipeline) -> XmlPipeline:
    """The sample with a delivery."""
    sample.deliver()
    return sample


@pytest.fixture
@made_once
def failed(pipeline: Pipeline) -> Pipeline:
    """The sample after a run in which subtask 0 of each permuter task failed: tasks 1 and 2 of instance 1."""
    pipeline.console("start", "sample", "Test 1", "--work", "-j", "2", expect=2)
    pipeline.ran()
    return pipeline
