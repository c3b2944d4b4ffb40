"""What rlaunch and the Python API print: log lines, and what tasks print, launch after launch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import rapidfire


def org_chart() -> str:
    """The workflow of FireWorks' tutorial: a CEO, two managers and an intern."""
    names = ["Ingrid is the CEO.", "Jill is a manager.", "Jack is a manager.", "Kip is an intern."]
    fws = [
        {"fw_id": at, "spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": f'echo "{name}"'}]}}
        for at, name in enumerate(names, 1)
    ]
    return json.dumps({"fws": fws, "links": {"1": [2, 3], "2": [4], "3": [4]}})


@pytest.fixture
def chart(lpad: Lpad) -> Lpad:
    (lpad.folder / "org_wf.json").write_text(org_chart())
    lpad.ok("add", "org_wf.json")
    return lpad


def test_silent_rapidfire_prints_only_what_tasks_print(chart: Lpad) -> None:
    lines = chart.rekindle("rlaunch", "-s", "rapidfire").out.splitlines()
    assert lines[0] == "Ingrid is the CEO."
    assert sorted(lines[1:3]) == ["Jack is a manager.", "Jill is a manager."]
    assert lines[3:] == ["Kip is an intern."]


@pytest.mark.parametrize("words", [("rapidfire",), ("multi", "2"), ("rapidfire", "--max_loops", "9", "--sleep", "0")])
def test_output_is_between_the_log_lines_of_its_launch(chart: Lpad, words: tuple[str, ...]) -> None:
    out = chart.rekindle("rlaunch", *words).out
    kinds = "".join(
        next(kind for kind in ("Created", "Launching", "RUNNING", "is a", "finished") if kind in line)[0]
        for line in re.sub("is the", "is a", out).splitlines()
    )
    one = "CLRif"
    assert kinds == one * 4 if words[0] == "rapidfire" else sorted(kinds) == sorted(one * 4)


def test_output_is_printed_as_each_launch_ends(chart: Lpad) -> None:
    words = [sys.executable, "-m", "rekindle", "rlaunch", "-s", "rapidfire", "--nlaunches", "infinite"]
    with subprocess.Popen(words, cwd=chart.folder, stdout=subprocess.PIPE, text=True) as launcher:
        try:
            assert launcher.stdout is not None
            lines = [launcher.stdout.readline() for _ in range(4)]
            assert lines[3] == "Kip is an intern.\n"
            assert launcher.poll() is None
        finally:
            launcher.terminate()


def test_errors_of_tasks_are_printed(chart: Lpad) -> None:
    fails = {"_fw_name": "PyTask", "func": "builtins.int", "args": ["x"]}
    LaunchPad().add_wf({"fw_id": 9, "spec": {"_tasks": [fails]}})
    done = chart.rekindle("rlaunch", "-s", "rapidfire")
    assert "ValueError: invalid literal for int()" in done.err


def test_python_prints_what_tasks_print_at_every_level(chart: Lpad, capsys: pytest.CaptureFixture[str]) -> None:
    rapidfire(LaunchPad(), strm_lvl="CRITICAL")
    assert capsys.readouterr().out.startswith("Ingrid is the CEO.\nJ")
