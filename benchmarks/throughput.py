"""Small jobs a second, compared with xargs and a process pool, which record nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.projects import MODULE, REKINDLE, project
from benchmarks.timing import command, in_turn, show_rates

SLOTS = 2

POOL = f"""
import sys
from concurrent.futures import ProcessPoolExecutor
from work import nothing

if __name__ == "__main__":
    with ProcessPoolExecutor({SLOTS}) as pool:
        for future in [pool.submit(nothing) for _ in range(int(sys.argv[1]))]:
            future.result()
"""


def commands(count: int, rounds: int) -> None:
    """Measure `rekindle run` and xargs with /bin/true."""
    numbers = "".join(f"{number}\n" for number in range(count)).encode()

    def xargs() -> None:
        command(["xargs", f"-P{SLOTS}", "-n1", "/bin/true"], Path("/"), stdin=numbers)

    ours, limit = in_turn(
        rounds,
        ("rekindle run", lambda: run_all({"run": ["/bin/true"]}, count)),
        (f"xargs -P{SLOTS} -n1", xargs),
    )
    show_rates(f"{count:,} commands (/bin/true), {SLOTS} slots: whole commands", count, ours, limit)


def calls(count: int, rounds: int) -> None:
    """Measure `rekindle run` and a process pool with an empty Python function."""
    ours, limit = in_turn(
        rounds,
        ("rekindle run", lambda: run_all({"call": "work:nothing"}, count)),
        (f"ProcessPoolExecutor({SLOTS}).submit", lambda: pool(count)),
    )
    show_rates(f"{count:,} Python calls (no-op), {SLOTS} slots: whole commands", count, ours, limit)


def durable(count: int, rounds: int) -> None:
    """Measure the same commands and calls with REKINDLE_DURABILITY=full, which survives a power cut."""
    for what, job in (
        ("commands (/bin/true)", {"run": ["/bin/true"]}),
        ("Python calls (no-op)", {"call": "work:nothing"}),
    ):
        normal, full = in_turn(
            rounds,
            ("normal", partial(run_all, job, count)),
            ("full", partial(run_all, job, count, ["env", "REKINDLE_DURABILITY=full"])),
        )
        show_rates(f"{count:,} {what}, durability full beside normal: whole commands", count, full, normal)


def run_all(job: dict[str, Any], count: int, prefix: Sequence[str] = ()) -> None:
    """Run `count` jobs in a new store."""
    with project(job, count) as folder:
        command([*prefix, REKINDLE, "run", "spec.json", "-j", str(SLOTS)], folder)


def pool(count: int) -> None:
    """Run `count` calls in a ProcessPoolExecutor."""
    with project({"call": "work:nothing"}, 1) as folder:
        (folder / "work.py").write_text(MODULE)
        (folder / "pool.py").write_text(POOL)
        command([sys.executable, "pool.py", str(count)], folder)
