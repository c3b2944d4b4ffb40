"""Eight processes that claim and complete jobs of the same workflows in turns, in PostgreSQL."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from contextlib import closing

import pytest
from store_driving import claim_in, completed_ending, end_in, states, submit

from rekindle.domain.states import State
from rekindle.store.archive import Store
from rekindle.store.opening import open_store

RUNNERS = 8
BOUND = 600


def jobs_of(number: int, chance: random.Random) -> dict[str, list[str]]:
    """Return jobs by name with their needs: half need none, and the others up to five of those before them."""
    jobs: dict[str, list[str]] = {}
    for at in range(number):
        before = list(jobs)[-200:] if at % 2 and at > 20 else []
        jobs[f"job{at}"] = chance.sample(before, min(len(before), chance.randint(1, 5)))
    return jobs


def has_ended(store: Store, workflows: list[int]) -> bool:
    with store.read() as archive:
        return all(set(archive.workflows.find(one).counts) == {State.COMPLETED} for one in workflows)


def work(url: str, workflows: list[int], runner: int, ran: multiprocessing.Queue[list[int]]) -> None:
    """Claim and complete until every job has completed; send the ids of the jobs that this process ran."""
    chance, mine, running = random.Random(runner), [], []
    with closing(open_store(url, create=False)) as store:
        while running or not has_ended(store, workflows):
            with store.turn(runner) as archive:
                if running:
                    end_in(archive, [completed_ending(one.id) for one in running])
                running = claim_in(archive, chance.choice(workflows), chance.randint(1, 32), runner=runner)
            mine += [one.job.id for one in running]
    ran.put(mine)


@pytest.mark.parametrize("number", [2_000, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_eight_runners_run_each_job_once_and_leave_none(store, store_url, number):
    chance = random.Random(number)
    workflows = [submit(store, jobs_of(number // 2, chance), name=name) for name in ("one", "two")]
    context = multiprocessing.get_context("spawn")
    ran: multiprocessing.Queue[list[int]] = context.Queue()
    processes = [context.Process(target=work, args=(store_url, workflows, 1 + at, ran)) for at in range(RUNNERS)]
    for process in processes:
        process.start()
    counts = Counter(job for _ in processes for job in ran.get(timeout=BOUND))
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * RUNNERS
    assert len(counts) == number
    assert counts.most_common(1)[0][1] == 1
    for workflow in workflows:
        assert set(states(store, workflow).values()) == {State.COMPLETED}
