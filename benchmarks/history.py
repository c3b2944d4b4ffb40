"""The history of measurements: JSON lines, one for each run of a row.

Every run is appended to .benchmarks/history.jsonl, which git ignores. `python -m benchmarks --table` publishes the
newest complete run of each row in benchmarks/history, one file a day, and the page of results is made of these files.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import Result

ROOT = Path(__file__).parent.parent
LOCAL = ROOT / ".benchmarks" / "history.jsonl"
PUBLISHED = Path(__file__).parent / "history"


def append(path: Path, results: Iterable[Result]) -> None:
    """Append results to a file, which is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for one in results:
            file.write(msgspec.json.encode(rounded(msgspec.to_builtins(one))) + b"\n")


def read(path: Path) -> list[Result]:
    """Return the results of a file, oldest first; none if it is missing."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Result) for line in lines]


def rounded(value: Any) -> Any:
    """Return a JSON value whose fractions have five significant digits, so that the history can be read."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def before(results: Iterable[Result], now: Result) -> Result | None:
    """Return the newest result of the same row, size and machine that was made before."""
    same = (now.row, now.machine, now.size)
    found = [one for one in results if (one.row, one.machine, one.size) == same and one.date < now.date]
    return max((one for one in found if not one.unavailable), key=lambda one: one.date, default=None)


def newest(results: Iterable[Result]) -> dict[str, Result]:
    """Return the newest complete result of each row. What could not be measured gives way to what was."""
    found: dict[str, Result] = {}
    for one in sorted(results, key=lambda one: (not one.unavailable, one.date)):
        if not one.quick:
            found[one.row] = one
    return dict(sorted(found.items()))


def publish(machine: str) -> Path | None:
    """Append the newest complete results of this machine that are not published to the file of today; return it."""
    done = {(one.row, one.date) for one in published()}
    new = [one for one in newest(read(LOCAL)).values() if one.machine == machine and (one.row, one.date) not in done]
    path = PUBLISHED / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
    if new:
        append(path, new)
    return path if new else None


def published() -> list[Result]:
    """Return all published results."""
    return [one for path in sorted(PUBLISHED.glob("*.jsonl")) for one in read(path)]


def this_machine() -> str:
    """Describe this machine: processors, memory, system and Python. Equal texts are taken as one machine."""
    model = "processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
            break
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = ".".join(platform.release().split(".")[:2])
    parts = f"{os.cpu_count()} × {model}", f"{gigabytes:.0f} GiB", f"{platform.system()} {release}"
    return ", ".join((*parts, f"Python {platform.python_version()}"))


def commit() -> str:
    """Return the short name of the commit that is measured, with + if files differ from it; empty without git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=8", "HEAD") + ("+" if changed else "")
    except FileNotFoundError:
        return ""
