"""The workflow of the soak tests, in a folder whose store may be on a small disk."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path

COMMAND = Path(sys.executable).parent / "rekindle"
MARK = "SOAK_MARK"
"""An environment variable of every process of a run, with a value unique to the run."""

FILLER = "filler"

_JOB = """\
#!/bin/sh
# job WHAT [ARGUMENT]: appends its begin and its end to one file.
tell() {
    echo "$1 $REKINDLE_JOB $REKINDLE_ATTEMPT ${REKINDLE_DIR##*/} $REKINDLE_STEP ${REKINDLE_SUBTASK:--}" >>"$LEDGER"
}
tell begin
case $1 in
    make) echo "making $2"; sleep 0.02; echo "$REKINDLE_JOB_NAME" >"$2" || exit 9 ;;
    rest) sleep "$2" ;;
    flaky) test $((REKINDLE_ATTEMPT % 2)) -eq 0 || exit 3 ;;
    add) printf '{"add": [{"name": "extra-%s", "run": "./job rest 0.01"}]}' "$2" >"$REKINDLE_ACTION" || exit 9 ;;
esac
tell end
"""

_CALLS = """\
import os
import time


def tell(word, ctx):
    attempt = os.path.basename(os.environ["REKINDLE_DIR"])
    line = f"{word} {ctx.job} {ctx.attempt} {attempt} {ctx.step} -\\n"
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, line.encode())
    os.close(ledger)


def rest(seconds, ctx):
    tell("begin", ctx)
    time.sleep(seconds)
    tell("end", ctx)
    return seconds
"""

# libfaketime 0.9.10 that leaves the monotonic clock alone breaks clock_nanosleep(2) until a time of that clock.
_SLEEP = """\
import select
import time

time.sleep = lambda seconds: (select.select([], [], [], seconds), None)[1]
"""

_SPEC = """\
name: soak
env: {{LEDGER: "{ledger}"}}
defaults: {{retry: {{max: 1000, on: [lost, signal, subtasks, missing_output], delay: 20ms}}}}
jobs:
  head: {{run: ./job rest 0.05}}
  chain0:
    matrix: {{i: {{range: [0, {n}]}}}}
    needs: [head]
    run: "./job make ${{outputs.to}}"
    outputs: {{to: "c0.${{matrix.i}}"}}
  chain1:
    matrix: {{i: {{range: [0, {n}]}}}}
    run: "./job make ${{outputs.to}}"
    inputs: {{from: "c0.${{matrix.i}}"}}
    outputs: {{to: "c1.${{matrix.i}}"}}
  left:
    matrix: {{i: {{range: [0, {n}]}}}}
    needs: ["chain1[i=${{matrix.i}}]"]
    run: ./job rest 0.03
    retry: {{max: 0}}
  right:
    matrix: {{i: {{range: [0, {n}]}}}}
    needs: ["chain1[i=${{matrix.i}}]"]
    call: "calls:rest"
    args: {{seconds: 0.01}}
  join:
    matrix: {{i: {{range: [0, {n}]}}}}
    needs: ["left[i=${{matrix.i}}]", "right[i=${{matrix.i}}]"]
    run: ./job rest 0.01
  call: {{matrix: {{i: {{range: [0, {n}]}}}}, call: "calls:rest", args: {{seconds: 0.005}}}}
  pair:
    matrix: {{i: {{range: [0, {n}]}}}}
    steps:
      - {{name: first, run: ./job rest 0.01}}
      - {{name: then, call: "calls:rest", args: {{seconds: 0.01}}}}
  flaky:
    matrix: {{i: {{range: [0, {n}]}}}}
    run: ./job flaky
    retry: {{max: 1000, on: [exit, lost, signal], delay: 50ms}}
  slow: {{matrix: {{i: {{range: [0, {few}]}}}}, run: "./job rest 0.5"}}
  fan:
    matrix: {{i: {{range: [0, {few}]}}}}
    retry: {{max: 1000, on: [lost, signal, subtasks], from: failed-step}}
    steps:
      - {{name: cut, run: ./job rest 0}}
      - {{name: items, each: [a, b, c, d, e, f], parallel: 2, run: "./job rest 0.02"}}
      - {{name: store, run: ./job rest 0}}
  adder: {{matrix: {{i: {{range: [0, {few}]}}}}, run: "./job add ${{matrix.i}}"}}
  report: {{needs: ["join*", "fan*", "pair*"], aggregate: true, run: ./job rest 0.01}}
"""


class SoakProject:
    """A folder with the workflow. `store` is the path of its store."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store
        self.mark = uuid.uuid4().hex
        self.clock = folder / "clock"
        self.ledger = folder / "ledger"
        self._errors = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
        path = f"{COMMAND.parent}{os.pathsep}{kept['PATH']}"
        self.env = {**kept, "PATH": path, "REKINDLE_STORE": str(store), "REKINDLE_DEBUG": "1", MARK: self.mark}

    def write(self, scale: int) -> None:
        """Write the workflow: about nine jobs per unit of `scale`."""
        job = self.folder / "job"
        job.write_text(_JOB)
        job.chmod(0o755)
        (self.folder / "calls.py").write_text(_CALLS)
        (self.folder / "spec.yaml").write_text(_SPEC.format(ledger=self.ledger, n=scale, few=few(scale)))
        self.ledger.touch()

    def step_clocks(self, library: Path) -> None:
        """Start all further processes with libfaketime, so that `set_clock` sets their wall clock."""
        self.set_clock(0)
        shims = self.folder / "shims"
        shims.mkdir()
        (shims / "sitecustomize.py").write_text(_SLEEP)
        paths = [str(shims), *filter(None, [self.env.get("PYTHONPATH")])]
        self.env |= {
            "PYTHONPATH": os.pathsep.join(paths),
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set_clock(self, amount: float) -> None:
        """Set their clocks `seconds` off the true time."""
        draft = self.folder / "clock.new"
        draft.write_text(f"{amount:+.1f}s\n")
        draft.replace(self.clock)

    def start(self, words: Iterable[str]) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a command in a session of its own. Return the process and the path of its stderr."""
        self._errors += 1
        errors = self.folder / f"{self._errors}.err"
        with errors.open("wb") as err:
            process = subprocess.Popen(
                [COMMAND, *words],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )
        return process, errors

    def rekindle(self, *words: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        return subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def fill(self) -> None:
        """Fill the store's disk to the last byte."""
        with (self.store / FILLER).open("ab") as filler:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, size)
                except OSError:
                    continue

    def relieve(self) -> None:
        """Free the space again."""
        (self.store / FILLER).unlink(missing_ok=True)


def few(scale: int) -> int:
    """Return how many of the larger jobs there are."""
    return max(2, scale // 5)


def expected(scale: int) -> set[str]:
    """Return the names of all jobs at the end of a run."""
    kinds = ("chain0", "chain1", "left", "right", "join", "call", "pair", "flaky")
    names = {f"{kind}[i={i}]" for kind in kinds for i in range(scale)}
    names |= {f"{kind}[i={i}]" for kind in ("slow", "fan", "adder") for i in range(few(scale))}
    return names | {f"extra-{i}" for i in range(few(scale))} | {"head", "report"}
