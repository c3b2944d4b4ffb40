"""Every command line of Ziggy's documents, unchanged, in a shell."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

import pytest
from ziggy_sample import Pipeline


class Line(NamedTuple):
    """A line of a document, its exit code, and its expected output."""

    line: str
    ends: int
    prints: str


# Run in this order on one store. `work` takes the place of Ziggy's cluster. Instances share folders, so one job runs at
# a time.
LINES = (
    Line("ziggy console --help", 0, "restart"),
    Line('ziggy console start sample "Test 1"', 0, 'Launching sample: name="Test 1", start="", stop=""...'),
    Line(
        'ziggy console start sample "Test 2" permuter flip',
        0,
        'Launching sample: name="Test 2", start="permuter", stop="flip"...',
    ),
    Line("ziggy console start sample", 0, "instance 3: 5 tasks"),
    Line("rekindle work -j 1", 2, ""),
    Line("ziggy console display", 0, "sample: Test 2"),
    Line("ziggy console display --instance 2", 0, "Instance Task Summary"),
    Line("ziggy console display --instance 2 --displayType full", 0, "ERROR - WAITING_TO_STORE  3/4 (1)"),
    Line("ziggy console display --displayType alerts --instance 2", 0, "1 of 4 subtasks failed"),
    Line("ziggy console display --displayType errors --instance 2", 0, "permuter"),
    Line("ziggy console display --displayType statistics --instance 2", 0, "Processing Time Statistics"),
    Line("ziggy console display --task 2", 0, "resume-current-step"),
    Line(
        "ziggy console restart --restartMode resubmit --task 2 --task 3,4,7-10",
        0,
        "Restarting task(s) 7 in instance 2 with restart mode Resubmit",
    ),
    Line("ziggy console halt --task 2 --task 3,4,7-10", 0, "Halting task(s) 2, 3, 4 in instance 1"),
    Line("ziggy console restart --restartMode RESTART_FROM_BEGINNING --instance 3", 0, "mode Restart from beginning"),
    Line("ziggy console restart --restartMode RESUME_MONITORING --instance 3", 0, "no task to restart"),
    Line("ziggy console restart --restartMode RESUME_CURRENT_STEP --instance 1", 0, "mode Resume current step"),
    Line("ziggy console restart --restartMode RESUBMIT --instance 2", 0, "mode Resubmit"),
    Line("ziggy console halt --instance 3", 0, "in instance 3"),
    Line("ziggy console config --configType pipeline --pipeline sample", 0, "throw_exception_subtask_0 = true"),
    Line("ziggy console config --configType pipeline-nodes --pipeline sample", 0, "     2: flip"),
    Line("ziggy console config --configType instance --instance 1", 0, "node permuter"),
    Line("ziggy console config --configType instance", 0, "sample: Test 2"),
    Line("ziggy console log --errors", 0, ""),
    Line("ziggy console log --task 6", 0, "as ordered"),
    Line("ziggy console version", 0, "rekindle"),
    # Features that rekindle does not have are refused.
    Line("ziggy console display --displayType statistics-detailed --instance 2", 1, ""),
    Line("ziggy console config --configType data-model-registry", 1, ""),
    # Command names can be abbreviated, but ambiguous and unknown ones are refused.
    Line("ziggy console disp", 0, "Pipeline Instances"),
    Line("ziggy console -h", 0, "halt"),
    Line("ziggy console di -i 1 -d full", 0, "Pipeline Tasks"),
    Line("ziggy console re -r resub -t 99", 1, ""),
    Line("ziggy console frob", 64, ""),
)


def test_every_documented_line_runs_unchanged(pipeline: Pipeline) -> None:
    assert pipeline.rekindle("dialects", "install", "bin").code == 0
    env = {**os.environ, "PATH": f"{pipeline.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for line, ends, prints in LINES:
        done = subprocess.run(
            line,
            shell=True,
            cwd=pipeline.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ends, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert prints in done.stdout, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert ends == 64


def test_start_and_stop_nodes_limit_the_instance(pipeline: Pipeline) -> None:
    pipeline.console("start", "sample", "part", "flip", "flip")
    assert list(pipeline.states()) == ["flip[unit=set-1]", "flip[unit=set-2]"]
    assert "no job 'flop'" in pipeline.console("start", "sample", "part", "flop", expect=1).err
    assert "leads from averaging to flip" in pipeline.console("start", "sample", "x", "averaging", "flip", expect=1).err


def test_a_pipeline_is_found_by_file_name_spec_name_or_instance(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.console("start", "sample.yaml", "by file")
    (pipeline.folder / "sample.yaml").rename(pipeline.folder / "another.yaml")
    pipeline.console("start", "sample", "by the name in it")
    below = pipeline.folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    pipeline.console("start", "sample", "by an earlier instance")
    missing = pipeline.console("start", "sampel", expect=1)
    assert "no pipeline 'sampel'" in missing.err
    assert "sample" in missing.err
    assert pipeline.console("display").out.count("sample: by ") == 3


def test_an_unnamed_instance_is_named_by_the_time_and_is_new(pipeline: Pipeline) -> None:
    for name in ("same", "same", ""):
        pipeline.console("start", "sample", *([name] if name else []))
    names = [one["name"] for one in pipeline.ask("status")["workflows"]]
    assert names[:2] == ["sample: same", "sample: same"]
    assert names[2].startswith("sample: 20")
    pipeline.console("start", "sample", "two\nlines", expect=64)


def test_display_requires_a_store_and_creates_none(pipeline: Pipeline) -> None:
    for words in (["display"], ["halt", "--instance", "1"], ["restart", "--instance", "1"], ["log", "--errors"]):
        assert "no store" in pipeline.console(*words, expect=1).err
    pipeline.console("config", "--configType", "pipeline", "--pipeline", "sample")
    pipeline.console("start", "nothing", expect=1)
    pipeline.console("start", "sample", "x", "nothing", expect=1)
    assert not (pipeline.folder / ".rekindle").exists()
