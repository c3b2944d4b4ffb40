"""Claims and completions in PostgreSQL by eight runners, beside the transactions of pgbench."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.harness import Measurement, Row, Unavailable, at_least, beside, progress
from rekindle import Client, Workflow
from rekindle.domain.models import AttemptEnd, NewAttempt, StateChange
from rekindle.domain.selection import Compare, Not, Op
from rekindle.domain.states import State
from rekindle.store.opening import open_store

if TYPE_CHECKING:
    from rekindle.store.archive import Store, Transaction

SCRIPT = Path(__file__).parents[2] / "scripts" / "postgres-server"
RUNNERS = 8
SECONDS = 5
PGBENCH = f"pgbench -N -c {RUNNERS}: transactions"


def postgres(jobs: int, rounds: int) -> list[Measurement]:
    """Measure how many jobs a second eight processes claim and complete, each in turns of 1, 16 and 64, and how many
    transactions a second `pgbench -N -c 8` makes on the same server before."""
    if not sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench")):
        raise Unavailable("no PostgreSQL server is installed")
    with server() as (url, connection):
        bench(connection, "-i", "-q", "-s", "10")
        rates: dict[int, list[float]] = {}
        for _ in range(rounds):
            progress.step(PGBENCH)
            rates.setdefault(0, []).append(transactions(connection, SECONDS))
            for batch in (1, 16, 64):
                progress.step(f"turns of {batch}")
                rates.setdefault(batch, []).append(claims(url, jobs // 4 if batch == 1 else jobs, batch))
    limit = Measurement(PGBENCH, "/s", tuple(rates.pop(0)))
    targets = {1: [beside(PGBENCH)], 16: [at_least(2.0, times=PGBENCH)], 64: [at_least(2.0, times=PGBENCH)]}
    return [
        *(
            Measurement(f"turns of {batch}", "/s", tuple(rates[batch]), targets=tuple(targets[batch]))
            for batch in rates
        ),
        limit,
    ]


@contextmanager
def server() -> Iterator[tuple[str, list[str]]]:
    """Run a server; yield its URL and the options of pgbench that name it."""
    with TemporaryDirectory(prefix="rekindle-pg-") as folder:
        subprocess.run([SCRIPT, "start", folder, "durable"], check=True, capture_output=True)
        try:
            yield f"postgresql://postgres@/postgres?host={folder}", ["-h", folder, "-U", "postgres", "postgres"]
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True, capture_output=True)


def bench(connection: list[str], *words: str) -> str:
    """Run pgbench; return what it prints."""
    return subprocess.run(["pgbench", *words, *connection], check=True, capture_output=True, text=True).stdout


def transactions(connection: list[str], seconds: int) -> float:
    """Return the rate of pgbench's simple updates."""
    shown = bench(connection, "-N", "-c", str(RUNNERS), "-j", "2", "-T", str(seconds))
    found = re.search(r"tps = ([0-9.]+)", shown)
    assert found is not None, shown
    return float(found[1])


def claims(server: str, jobs: int, batch: int) -> float:
    """Return the rate at which eight processes claim and complete the jobs of a new store."""
    with TemporaryDirectory(prefix="rekindle-spool-") as folder:
        url = f"{server}&schema=store_{time.monotonic_ns()}&spool={folder}/spool"
        with Client(url) as client:
            workflow = Workflow("one", directory=folder)
            workflow.job("job", run=["/bin/true"], matrix={"i": {"range": [0, jobs]}})
            client.submit(workflow.definition())
        context = multiprocessing.get_context("spawn")
        ready, begin = context.Semaphore(0), context.Event()
        work = [context.Process(target=run, args=(url, batch, number, ready, begin)) for number in range(RUNNERS)]
        for process in work:
            process.start()
        for _ in work:
            ready.acquire()
        began = time.perf_counter()
        begin.set()
        for process in work:
            process.join()
        taken = time.perf_counter() - began
        with closing(open_store(url, create=False)) as store, store.read() as archive:
            assert archive.check() == []
            left = archive.jobs.select(Not(Compare("state", Op.EQ, State.COMPLETED)), 1)
            assert left == [], left
    return jobs / taken


def run(url: str, batch: int, runner: int, ready: multiprocessing.Semaphore, begin: multiprocessing.Event) -> None:
    """Claim jobs until none is left. Each turn completes those of the turn before."""
    with closing(open_store(url, create=False)) as store:
        ready.release()
        begin.wait()
        mine: list[NewAttempt] = []
        while True:
            mine = turn(store, mine, batch, runner)
            if not mine:
                return


def turn(store: Store, ended: list[NewAttempt], batch: int, runner: int) -> list[NewAttempt]:
    """Complete attempts and claim others, in one transaction."""
    now = time.time()
    with store.turn(runner) as archive:
        complete(archive, ended, now)
        jobs = archive.queue.ready(None, batch)
        ids = archive.queue.attempt_ids(len(jobs))
        claimed = [NewAttempt(one, f"token{one}", job, f"/a/{one}") for one, job in zip(ids, jobs, strict=True)]
        if claimed:
            archive.queue.claim(claimed, runner, now)
    return claimed


def complete(archive: Transaction, attempts: list[NewAttempt], now: float) -> None:
    """Write the ends of attempts, and release what needs their jobs."""
    if not attempts:
        return
    known = archive.queue.status([one.id for one in attempts])
    archive.queue.end([AttemptEnd(one.id, State.COMPLETED, now, started=now, exit_code=0) for one in attempts], known)
    archive.queue.move(
        [
            StateChange(one.job, one.workflow, one.resource_class, one.job_state, State.COMPLETED)
            for one in known.values()
        ]
    )
    archive.queue.completed([one.job for one in known.values()])


ROWS = (
    Row(
        "postgres",
        f"PostgreSQL, fsync on: {RUNNERS} processes claim and complete jobs, beside pgbench",
        postgres,
        (40_000,),
        (16_000,),
    ),
)
