"""A batch like ReSim's: experiences are driven, scored and reported on. Files control failures.

`broken-NAME` fails the test every time, `flaky-NAME` once; `verdict-NAME` holds the verdict of its metrics.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main

DRIVE = """\
cd_dir=$RESIM_CONFIG_DIR; name=$RESIM_EXPERIENCE
echo "experience $name" >> "$cd_dir/ran.txt"
echo "$name attempt $REKINDLE_ATTEMPT at $RESIM_EXPERIENCE_LOCATION $SPEED $RESIM_PARAMETERS" > track.txt
test -e "$cd_dir/slow-$name" && sleep 1
while test -e "$cd_dir/stuck-$name"; do sleep 0.05; done
if test -e "$cd_dir/flaky-$name"; then rm "$cd_dir/flaky-$name"; echo "lost the lane" >&2; exit 3; fi
if test -e "$cd_dir/broken-$name"; then echo "cannot see" >&2; exit 4; fi
exit 0
"""
SCORE = """\
echo "metrics $RESIM_EXPERIENCE: $(ls | tr '\\n' ' ')" >> "$RESIM_CONFIG_DIR/ran.txt"
if test -e "$RESIM_CONFIG_DIR/verdict-$RESIM_EXPERIENCE"; then
  cat "$RESIM_CONFIG_DIR/verdict-$RESIM_EXPERIENCE" > "$REKINDLE_VERDICT"
fi
"""
REPORT = """\
import json, os
seen = json.loads(os.environ["REKINDLE_INPUTS"])
tracks = {name: open(one["outputs"]["track"]).read() if one["outputs"] else None for name, one in seen.items()}
with open(os.environ["RESIM_CONFIG_DIR"] + "/reports.jsonl", "a") as file:
    file.write(json.dumps(tracks) + "\\n")
with open(os.environ["RESIM_CONFIG_DIR"] + "/ran.txt", "a") as file:
    file.write("batch-metrics\\n")
"""
CONFIG = """\
builds:
  - id: planner-7
    run: sh "$RESIM_CONFIG_DIR/drive.sh"
    outputs: {track: track.txt}
    env: {SPEED: "30"}
metrics_builds:
  - {id: scores-2, run: sh "$RESIM_CONFIG_DIR/score.sh", batch: python3 "$RESIM_CONFIG_DIR/report.py"}
experiences:
  - {name: merge, description: joins a motorway, locations: [scenes/merge], tags: [nightly, motorway]}
  - {name: turn, description: turns left, locations: ["s3://scenes/turn"], tags: [nightly], experience_id: 11-aa}
  - name: stop
    description: stops at a line
    locations: [scenes/stop]
    environment_variables: [{name: SPEED, value: "7"}]
    container_timeout_seconds: 600
managed_test_suites:
  - {name: all of them, experiences: [merge, turn, stop], metrics_build: scores-2}
managed_experience_tags: [nightly]
"""


@dataclass(frozen=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Lab:
    """The folder with the experience file, and commands run in it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture
        for name, text in {"drive.sh": DRIVE, "score.sh": SCORE, "report.py": REPORT, "resim.yaml": CONFIG}.items():
            (folder / name).write_text(text)

    def rekindle(self, *words: str) -> CommandResult:
        self._capture.readouterr()
        code = main(words)
        return CommandResult(code, *self._capture.readouterr())

    def batches(self, *words: str, expect: int = 0) -> CommandResult:
        """Run `rekindle resim batches …` and check its exit code."""
        result = self.rekindle("resim", "batches", *words)
        assert result.code == expect, result
        return result

    def create(self, *words: str, suite: str = "all of them") -> str:
        """Create a batch from the suite and return its ID."""
        given = ("--project", "car", "--build-id", "planner-7", "--test-suite", suite, "--github", *words)
        return self.batches("create", *given).out.strip().removeprefix("batch_id=")

    def wait(self, batch: str, expect: int = 0) -> CommandResult:
        return self.batches("wait", "--batch-id", batch, "--poll-every", "100ms", "-j", "1", expect=expect)

    def supervise(self, batch: str, *words: str, states: str = "Error", expect: int = 0) -> CommandResult:
        known = ("--batch-id", batch, "--rerun-on-states", states, "--poll-every", "100ms", "-j", "1")
        return self.batches("supervise", *known, *words, expect=expect)

    def get(self, batch: str) -> Any:
        return self.batches("get", "--batch-id", batch).json

    def tests(self, batch: str) -> dict[str, Any]:
        """Return the tests by experience name."""
        return {one["experienceName"]: one for one in self.batches("tests", "--batch-id", batch).json}

    def order(self, *names: str) -> None:
        """Write control files: `broken-merge`, `flaky-turn`, …"""
        for name in names:
            (self.folder / name).touch()

    def mend(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def finds(self, experience: str, verdict: str) -> None:
        (self.folder / f"verdict-{experience}").write_text(verdict)

    def ran(self) -> list[str]:
        """Return and clear the notes of stages, without those of batch metrics."""
        return sorted(line.partition(":")[0] for line in self._take("ran.txt"))

    def seen(self) -> list[str]:
        return sorted(self._take("ran.txt"))

    def reports(self) -> list[dict[str, str | None]]:
        """Return and clear the inputs of batch metrics, by experience."""
        found = [json.loads(line) for line in self._take("reports.jsonl")]
        return [{name[len("test[experience=") : -1]: track for name, track in one.items()} for one in found]

    def _take(self, name: str) -> list[str]:
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def in_the_background(self, *words: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "rekindle"), *words]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.folder, stdin=quiet, stdout=quiet, stderr=quiet, env=dict(os.environ))


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)
