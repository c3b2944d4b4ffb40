"""After a crash within a fan-out, `run` keeps what had succeeded only if nothing that it depended on has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SPEC = """
name: f
params: {v: 1}
jobs:
  f:
    inputs: {c: c}
    outputs: {all: all}
    steps:
      - name: p
        parallel: 1
        each: [a, b]
        run: "mkdir -p out; (cat c; sh t.sh; echo ${params.v}) > out/${item}; echo ${item} >> ran; sh wait.sh ${item}"
      - {name: q, run: "cat out/a out/b > all"}
"""

CALLED = """
name: f
jobs:
  f:
    outputs: {all: all}
    steps:
      - {name: p, parallel: 1, each: [a, b], call: "m:f", args: {item: "${item}"}}
      - {name: q, run: "cat out/a out/b > all"}
"""

MODULE = """
import pathlib, subprocess
def f(item):
    pathlib.Path("out").mkdir(exist_ok=True)
    pathlib.Path("out", item).write_text("1")
    with open("ran", "a") as ran: ran.write(item + chr(10))
    subprocess.run(["sh", "wait.sh", item], check=True)
"""

LIMIT = 60.0


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rekindle", "run", "f.yaml", *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
    files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment, **files)


def run(folder: Path) -> str:
    process = start(folder, "--yes")
    printed = process.communicate(timeout=LIMIT)[0].decode()
    assert process.returncode == 0, printed
    return printed


def crash(folder: Path, spec: str) -> None:
    """Kill a runner, and all that it has started, while the second item runs."""
    (folder / "f.yaml").write_text(spec)
    (folder / "c").write_text("1\n")
    (folder / "t.sh").write_text("echo 1\n")
    (folder / "wait.sh").write_text("test $1 = a || while ! test -e go; do sleep 0.05; done\n")
    (folder / "m.py").write_text(MODULE)
    process = start(folder)
    until = time.monotonic() + LIMIT
    while not (folder / "ran").exists() or "b" not in (folder / "ran").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for one in below:
        one.kill()
    process.communicate()
    psutil.wait_procs(below, timeout=LIMIT)
    (folder / "go").touch()


EDITS = {
    "input": ("c", "1", "2"),
    "script": ("t.sh", "echo 1", "echo 2"),
    "parameter": ("f.yaml", "v: 1", "v: 2"),
    "command": ("f.yaml", "cat c;", "cat c c;"),
    "code": ("m.py", '"1"', '"2"'),
}


@pytest.mark.parametrize("changed", EDITS)
def test_a_change_after_a_crash_starts_the_fan_out_again(tmp_path, changed):
    crash(tmp_path, CALLED if changed == "code" else SPEC)
    name, before, after = EDITS[changed]
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(before, after))
    assert "changed" in run(tmp_path)
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "a", "b"]
    assert (tmp_path / "out" / "a").read_text() == (tmp_path / "out" / "b").read_text()
    assert "nothing to run: 1 completed job, current" in run(tmp_path)


@pytest.mark.parametrize("spec", [SPEC, CALLED], ids=["commands", "calls"])
def test_without_a_change_items_that_succeeded_before_a_crash_are_kept(tmp_path, spec):
    crash(tmp_path, spec)
    run(tmp_path)
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "b"]
    assert "nothing to run: 1 completed job, current" in run(tmp_path)
