"""Small jobs a second, compared with xargs and a process pool, which record nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.commands import command
from benchmarks.harness import Measurement, Row, Sample, at_least, beside, in_turn
from benchmarks.projects import REKINDLE, SLOTS, project

OURS = "rekindle run"
XARGS = f"xargs -P{SLOTS} -n1"
BARE = "bare posix_spawn, wait4, journal"
POOL = f"ProcessPoolExecutor({SLOTS}).submit"

BARE_LOOP = f"""
import os
import sys

devnull = os.open(os.devnull, os.O_RDONLY)
workers = []
for worker in range({SLOTS}):
    if pid := os.fork():
        workers.append(pid)
        continue
    log = os.open(f"log{{worker}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    journal = os.open(f"journal{{worker}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    files = [(os.POSIX_SPAWN_DUP2, devnull, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    for number in range(worker, int(sys.argv[1]), {SLOTS}):
        child = os.posix_spawn("/bin/true", ["/bin/true"], os.environ, file_actions=files)
        _, status, usage = os.wait4(child, 0)
        line = f"{{number}} {{status}} {{usage.ru_utime}} {{usage.ru_stime}} {{usage.ru_maxrss}}\\n"
        os.write(journal, line.encode())
    os._exit(0)
for pid in workers:
    os.waitpid(pid, 0)
"""

POOL_SCRIPT = f"""
import sys
from concurrent.futures import ProcessPoolExecutor
from work import nothing

if __name__ == "__main__":
    with ProcessPoolExecutor({SLOTS}) as pool:
        for future in [pool.submit(nothing) for _ in range(int(sys.argv[1]))]:
            future.result()
"""


def commands(count: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle run`, xargs, and two bare processes that start, wait for and journal /bin/true."""
    numbers = "".join(f"{number}\n" for number in range(count)).encode()
    xargs = ["xargs", f"-P{SLOTS}", "-n1", "/bin/true"]
    samples = in_turn(
        rounds,
        (OURS, lambda: run_all({"run": ["/bin/true"]}, count)),
        (XARGS, lambda: command(xargs, Path("/"), stdin=numbers)),
        (BARE, lambda: bare(count)),
    )
    return samples.rates(count, {OURS: [at_least(1.0, times=XARGS), at_least(0.9, times=BARE)]})


def calls(count: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle run` and a process pool with an empty Python function."""
    samples = in_turn(
        rounds,
        (OURS, lambda: run_all({"call": "work:nothing"}, count)),
        (POOL, lambda: pool(count)),
    )
    return samples.rates(count, {OURS: [at_least(2.0, times=POOL)]})


def durable(count: int, rounds: int) -> list[Measurement]:
    """Measure the same commands and calls with REKINDLE_DURABILITY=full, which survives a power cut."""
    full = {"REKINDLE_DURABILITY": "full"}
    samples = in_turn(
        rounds,
        ("commands, full", lambda: run_all({"run": ["/bin/true"]}, count, full)),
        ("commands, normal", lambda: run_all({"run": ["/bin/true"]}, count)),
        ("calls, full", lambda: run_all({"call": "work:nothing"}, count, full)),
        ("calls, normal", lambda: run_all({"call": "work:nothing"}, count)),
    )
    return samples.rates(count, {f"{what}, full": [beside(f"{what}, normal")] for what in ("commands", "calls")})


def run_all(job: dict[str, Any], count: int, variables: dict[str, str] | None = None) -> Sample:
    """Run `count` jobs in a new store."""
    with project(job, count) as folder:
        return command([REKINDLE, "run", "spec.json", "-j", str(SLOTS)], folder, variables=variables)


def bare(count: int) -> Sample:
    """Run `count` commands by BARE_LOOP: the limit for a system that records what it runs."""
    with project({"run": ["/bin/true"]}, 1) as folder:
        (folder / "bare.py").write_text(BARE_LOOP)
        return command([sys.executable, "-I", "-S", "bare.py", str(count)], folder)


def pool(count: int) -> Sample:
    """Run `count` calls in a ProcessPoolExecutor."""
    with project({"call": "work:nothing"}, 1) as folder:
        (folder / "pool.py").write_text(POOL_SCRIPT)
        return command([sys.executable, "pool.py", str(count)], folder)


ROWS = (
    Row("commands", "commands (/bin/true), 2 slots", commands, (1_000, 10_000, 100_000), (1_000,), at=10_000),
    Row("calls", "no-op Python calls, 2 slots", calls, (1_000, 10_000, 100_000), (1_000,), at=10_000),
    Row("durable", "durability full beside normal", durable, (2_000,), (300,)),
)
