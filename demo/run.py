"""The main job, end to end: a sweep of trainings in which a real mistake makes some fail, and what happens next.

Runs on a copy of demo/digits in a temporary folder, through the `rekindle` command only, and at the end proves from
the store which jobs ran again. Exits 0 only when all of that is as it should be.
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
from pathlib import Path
from typing import Any

DIGITS = Path(__file__).resolve().parent / "digits"
TRAININGS = 24
BROKEN_LINE = "    depth = int(args.depth)\n"
MENDED_LINE = '    depth = None if args.depth == "none" else int(args.depth)\n'

JOBS_FAILED = 2  # the exit code of a run in which jobs failed


class NotProved(Exception):
    """Something is not as the demo says it is."""


class Project:
    """A copy of the sweep, and the command line to work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = Path(sys.executable).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REKINDLE_")}
        # The sweep says `python`: let that be the one that has scikit-learn.
        self.env = {**kept, "PATH": f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}", "COLUMNS": "80"}
        self.rekindle = str(scripts / "rekindle")

    def show(self, line: str, *, expect: int = 0) -> None:
        """Run a command of rekindle in sight of the reader."""
        print(f"\n$ rekindle {line}", flush=True)
        words = [self.rekindle, *shlex.split(line)]
        # Both streams to one place, in the order in which a reader at a terminal would see them.
        done = subprocess.run(words, cwd=self.folder, env=self.env, stderr=subprocess.STDOUT, check=False)
        if done.returncode != expect:
            raise NotProved(f"`rekindle {line}` ended with {done.returncode}, not with {expect}")

    def ask(self, line: str) -> Any:
        """The JSON that a command of rekindle answers."""
        words = [self.rekindle, *shlex.split(line), "--json"]
        done = subprocess.run(words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotProved(f"`rekindle {line} --json` ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def names(self, *flags: str) -> dict[int, str]:
        """Jobs by id."""
        return {job["id"]: job["name"] for job in self.ask(shlex.join(["jobs", "list", *flags]))["jobs"]}

    def attempts(self) -> dict[int, dict[str, Any]]:
        """All attempts there have been, by id."""
        return {attempt["id"]: attempt for attempt in self.ask("attempts list")["attempts"]}


def heading(text: str) -> None:
    """A short line between two parts of the story."""
    print(f"\n== {text}", flush=True)


def mend(script: Path) -> None:
    """Correct the mistake, and show how."""
    before = script.read_text()
    if before.count(BROKEN_LINE) != 1:
        raise NotProved(f"{script.name} does not hold the mistake that this demo is about")
    after = before.replace(BROKEN_LINE, MENDED_LINE)
    script.write_text(after)
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), script.name, script.name, n=1, lineterm="")
    print("\n".join(lines))


def ran_again(before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]]) -> Counter[int]:
    """How many attempts each job has made since `before`."""
    return Counter(attempt["job"] for number, attempt in after.items() if number not in before)


def prove(project: Project, failed: dict[int, str], before: dict[int, dict[str, Any]]) -> None:
    """The store must show that the failed trainings and the report ran once more, and nothing else did."""
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


def tell(project: Project) -> None:
    """The whole story."""
    heading(f"Prepare, {TRAININGS} trainings, a report")
    project.show("run sweep.yaml", expect=JOBS_FAILED)

    heading("What failed, and why")
    project.show("failures")
    project.show("attempts list -s failed")
    failed = project.names("-s", "failed")
    before = project.attempts()
    if not 0 < len(failed) < TRAININGS:
        raise NotProved(f"{len(failed)} of {TRAININGS} trainings failed: some were meant to")
    project.show(f"logs {shlex.quote(min(failed.values()))} --stderr")

    heading("Correct the script: depth may be 'none'")
    mend(project.folder / "train.py")

    heading("What would run again, and why")
    project.show("rerun -s failed --dry-run")

    heading("Run it again")
    project.show("rerun -s failed --yes --work")

    heading("Proof, from the store")
    prove(project, failed, before)

    heading("How it stands now")
    project.show("logs report")
    project.show("reruns list")
    project.show("status")


def main() -> int:
    """Tell the story in a temporary folder that is removed afterwards; 0 when everything was proved."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rekindle-demo-") as folder:
        copy = Path(folder) / "digits"
        shutil.copytree(DIGITS, copy)
        try:
            tell(Project(copy))
        except NotProved as reason:
            print(f"\ndemo: NOT PROVED: {reason}", file=sys.stderr)
            return 1
    print(f"\ndemo: proved, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
