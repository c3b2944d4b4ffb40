"""A pipeline like Ziggy's sample, on real images: two sets of four are colour-permuted, flipped and averaged.

`throw_exception_subtask_0` makes the first subtask of each permuter task fail.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main

SETS, IMAGES, SIDE = ("set-1", "set-2"), 4, 8

STEPS = '''\
"""Steps on binary PPM images."""
import json, os, shutil, sys
from pathlib import Path

def read(path):
    kind, size, depth, pixels = Path(path).read_bytes().split(b"\\n", 3)
    assert (kind, depth) == (b"P6", b"255")
    width, height = map(int, size.split())
    assert len(pixels) == width * height * 3
    return width, height, pixels

def write(path, width, height, pixels):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"P6\\n%d %d\\n255\\n" % (width, height) + bytes(pixels))

def note(*words):
    with open("ran.txt", "a") as log:
        log.write(" ".join(words) + "\\n")

def marshal(node, source, unit):
    note(node, unit, "marshal")
    task = Path("task", node, unit)
    shutil.rmtree(task, ignore_errors=True)
    for path in sorted(Path("datastore", source, unit).glob("*.ppm")):
        (task / path.stem).mkdir(parents=True)
        shutil.copy(path, task / path.stem / "in.ppm")

def permuter(image, throw):
    number = int(Path(image).parent.name.partition("-")[2])
    note("permuter", Path(image).parts[-3], "st-%d" % number)
    width, height, pixels = read(image)
    out = Path(image).with_name("out.ppm")
    write(out, width, height, pixels[: len(pixels) // 2] + pixels[: len(pixels) // 2])  # half written
    if number == 0 and throw == "true":
        raise ValueError("exception in subtask 0, as ordered")
    write(out, width, height, [pixels[at - at % 3 + (at + 1) % 3] for at in range(len(pixels))])

def flip(image):
    note("flip", Path(image).parts[-3], "st-" + Path(image).parent.name.partition("-")[2])
    width, height, pixels = read(image)
    rows = [pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width)]
    flipped = [row[at : at + 3] for row in rows for at in range(3 * width - 3, -1, -3)]
    write(Path(image).with_name("out.ppm"), width, height, b"".join(flipped))

def store(node, unit):
    note(node, unit, "store")
    if Path("no-disk").exists():
        raise OSError("no room in the datastore")
    shutil.rmtree(Path("datastore", node, unit), ignore_errors=True)
    Path("datastore", node, unit).mkdir(parents=True)
    for one in json.loads(os.environ["REKINDLE_INPUTS"])["process"]["items"]:
        done = Path(one["item"]).with_name("out.ppm")
        shutil.copy(done, Path("datastore", node, unit, done.parent.name + ".ppm"))

def average():
    note("average")
    images = [read(path) for path in sorted(Path("datastore/flip").glob("*/*.ppm"))]
    width, height, _ = images[0]
    write("datastore/average.ppm", width, height, [sum(c) // len(images) for c in zip(*(p for _, _, p in images))])

globals()[sys.argv[1]](*sys.argv[2:])
'''

SPEC = """\
name: sample
params: {throw_exception_subtask_0: true, alpha: 1}
jobs:
  permuter:
    matrix: {unit: [set-1, set-2]}
    steps:
      - {name: marshal, run: "python3 steps.py marshal permuter raw ${matrix.unit}"}
      - name: process
        each: "task/permuter/${matrix.unit}/*/in.ppm"
        run: "python3 steps.py permuter ${item} ${params.throw_exception_subtask_0}"
      - {name: store, run: "python3 steps.py store permuter ${matrix.unit}"}
  flip:
    matrix: {unit: [set-1, set-2]}
    needs: ["permuter[unit=${matrix.unit}]"]
    steps:
      - {name: marshal, run: "python3 steps.py marshal flip permuter ${matrix.unit}"}
      - {name: process, each: "task/flip/${matrix.unit}/*/in.ppm", run: "python3 steps.py flip ${item}"}
      - {name: store, run: "python3 steps.py store flip ${matrix.unit}"}
  averaging: {needs: [flip], run: "python3 steps.py average"}
"""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


class Console:
    """A pipeline's folder, and commands run in it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def rekindle(self, *words: str) -> CommandResult:
        self._capture.readouterr()
        code = main(words)
        return CommandResult(code, *self._capture.readouterr())

    def console(self, *words: str, expect: int = 0) -> CommandResult:
        """Run `rekindle ziggy console …` and check its exit code."""
        result = self.rekindle("ziggy", "console", *words)
        assert result.code == expect, result
        return result

    def ask(self, *words: str) -> Any:
        return json.loads(self.rekindle(*words, "--json").out)

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {job["name"]: job for job in self.ask("jobs", "list")["jobs"]}

    def states(self) -> dict[str, str]:
        return {name: job["state"] for name, job in self.jobs().items()}

    def live(self, job: int) -> Any:
        (attempt,) = self.ask("attempts", "list", str(job), "--live")["attempts"]
        return attempt

    def in_the_background(self, *words: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "rekindle"), *words]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.folder, stdin=quiet, stdout=quiet, stderr=quiet, env=dict(os.environ))


class Pipeline(Console):
    """The sample's folder, and commands run in it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, capture)
        chance = random.Random(7)
        (folder / "steps.py").write_text(STEPS)
        (folder / "sample.yaml").write_text(SPEC)
        for unit in SETS:
            for number in range(IMAGES):
                path = folder / "datastore" / "raw" / unit / f"image-{number}.ppm"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"P6\n%d %d\n255\n" % (SIDE, SIDE) + chance.randbytes(3 * SIDE * SIDE))

    def ran(self) -> list[str]:
        """Return and clear the notes of the steps."""
        path = self.folder / "ran.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(lines)

    def stored(self, node: str, unit: str) -> list[str]:
        return sorted(path.stem for path in (self.folder / "datastore" / node / unit).glob("*.ppm"))
