"""The main use, end to end: a sweep of trainings fails partly because of a bug, which is fixed, and the failures rerun.

Runs on a copy of demo/digits in a temporary folder, through the `rekindle` command only. At the end the demo checks in
the store which jobs ran again, and exits with 0 only if exactly the expected ones did.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DIGITS = Path(__file__).resolve().parent / "digits"
TRAININGS = 24
BROKEN_LINE = "    depth = int(args.depth)\n"
FIXED_LINE = '    depth = None if args.depth == "none" else int(args.depth)\n'

JOBS_FAILED = 2  # the exit code of a run in which jobs failed


class NotProved(Exception):
    """The store differs from the demo's claims."""


class Project:
    """A copy of the sweep, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = Path(sys.executable).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
        # The sweep runs `python`: put the interpreter with scikit-learn first on PATH.
        self.env = {**kept, "PATH": f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}", "COLUMNS": "80"}
        self.rekindle = str(scripts / "rekindle")

    def run(self) -> None:
        """Show how the sweep is submitted and runs. Some trainings fail."""
        self.show("run sweep.yaml", expect=JOBS_FAILED)

    def run_again(self) -> None:
        """Show how the failed trainings run again."""
        self.show("rerun -s failed --yes --work")

    def show(self, line: str, *, expect: int = 0) -> None:
        """Run a rekindle command and show its output."""
        print(f"\n$ rekindle {line}", flush=True)
        words = [self.rekindle, *shlex.split(line)]
        # Join both streams, so that their lines appear in the order of a terminal.
        done = subprocess.run(words, cwd=self.folder, env=self.env, stderr=subprocess.STDOUT, check=False)
        if done.returncode != expect:
            raise NotProved(f"`rekindle {line}` ended with {done.returncode}, not with {expect}")

    def ask(self, line: str) -> Any:
        """Return the JSON output of a rekindle command."""
        words = [self.rekindle, *shlex.split(line), "--json"]
        done = subprocess.run(words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotProved(f"`rekindle {line} --json` ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def names(self, *flags: str) -> dict[int, str]:
        """Return the names of jobs by id."""
        return {job["id"]: job["name"] for job in self.ask(shlex.join(["jobs", "list", *flags]))["jobs"]}

    def attempts(self) -> dict[int, dict[str, Any]]:
        """Return all attempts by id."""
        return {attempt["id"]: attempt for attempt in self.ask("attempts list")["attempts"]}


def heading(text: str) -> None:
    """Print the heading of a part."""
    print(f"\n== {text}", flush=True)


def fix(script: Path) -> None:
    """Fix the bug, and print the change."""
    before = script.read_text()
    if before.count(BROKEN_LINE) != 1:
        raise NotProved(f"{script.name} does not have the bug of this demo")
    after = before.replace(BROKEN_LINE, FIXED_LINE)
    script.write_text(after)
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), script.name, script.name, n=1, lineterm="")
    print("\n".join(lines))


def ran_again(before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]]) -> Counter[int]:
    """Count the attempts of each job since `before`."""
    return Counter(attempt["job"] for number, attempt in after.items() if number not in before)


def prove(project: Project, failed: dict[int, str], before: dict[int, dict[str, Any]]) -> None:
    """Check that the failed trainings and the report ran once more, and no other job did. Raise NotProved otherwise."""
    names = project.names()
    after = project.attempts()
    report = {job: name for job, name in names.items() if name == "report"}
    again = ran_again(before, after)
    wanted = dict.fromkeys(failed | report, 1)
    if again != wanted:
        ran = ", ".join(f"{names[job]} x{count}" for job, count in sorted(again.items())) or "nothing"
        raise NotProved(f"these ran, and not just the failed ones and the report: {ran}")
    if lost := before.keys() - after.keys():
        raise NotProved(f"attempts are gone from the store: {sorted(lost)}")
    archived = {after[number]["job"] for number in before if after[number]["archived"]}
    if archived != failed.keys():
        raise NotProved("the attempts in the archive are not those that failed")
    if unfinished := names.keys() - project.names("-s", "completed").keys():
        raise NotProved(f"not completed: {', '.join(names[job] for job in sorted(unfinished))}")
    print(f"ran again      {len(failed)} failed trainings, once each")
    print(f"ran now        {', '.join(report.values())}")
    print(f"did not run    {len(names) - len(again)} of {len(names)} jobs (prepare and the good trainings)")
    print(f"in the archive {len(archived)} failed attempts, with their logs")


def play(project: Project) -> None:
    """Run the parts of the demo in order."""
    heading(f"Prepare, {TRAININGS} trainings, a report")
    project.run()

    heading("What failed, and why")
    project.show("failures")
    project.show("attempts list -s failed")
    failed = project.names("-s", "failed")
    before = project.attempts()
    if not 0 < len(failed) < TRAININGS:
        raise NotProved(f"{len(failed)} of {TRAININGS} trainings failed: some were meant to")
    project.show(f"logs {shlex.quote(min(failed.values()))} --stderr")

    heading("Correct the script: depth may be 'none'")
    fix(project.folder / "train.py")

    heading("What would run again, and why")
    project.show("rerun -s failed --dry-run")

    heading("Run it again")
    project.run_again()

    heading("Proof, from the store")
    prove(project, failed, before)

    heading("How it stands now")
    project.show("logs report")
    project.show("reruns list")
    project.show("status")


@contextmanager
def copy_of_sweep() -> Iterator[Path]:
    """Copy the sweep into a temporary folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rekindle-demo-") as folder:
        yield Path(shutil.copytree(DIGITS, Path(folder) / "digits"))


def report(play_all: Callable[[], None]) -> int:
    """Run a demo, and print how it ended. Return 0 if everything was proved."""
    started = time.monotonic()
    try:
        play_all()
    except NotProved as reason:
        print(f"\ndemo: NOT PROVED: {reason}", file=sys.stderr)
        return 1
    print(f"\ndemo: proved, in {time.monotonic() - started:.0f} s")
    return 0


def main() -> None:
    """Run the demo."""
    with copy_of_sweep() as folder:
        play(Project(folder))


if __name__ == "__main__":
    sys.exit(report(main))
