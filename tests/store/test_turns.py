"""Turns: transactions of several runners at once, in PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager

import pytest
from store_driving import claim, claim_in, completed_ending, end_in, start, states, submit

from rekindle.domain.states import State
from rekindle.store.archive import NotAlone, Store
from rekindle.store.derived import write_shared_rows
from rekindle.store.opening import open_store

pytestmark = pytest.mark.parametrize("store_url", ["postgres"], indirect=True)


@contextmanager
def other(store: Store) -> Iterator[Store]:
    with closing(open_store(store.folder, create=False)) as opened:
        yield opened


def test_two_runners_that_complete_both_parents_at_once_release_the_child(store):
    workflow = submit(store, {"a": [], "b": [], "child": ["a", "b"]})
    first, second = claim(store, workflow)
    start(store, [first, second])
    both_have_read = threading.Barrier(2, timeout=30)

    def complete(attempt: int) -> None:
        with other(store) as mine, mine.turn() as archive:
            archive.queue.status([attempt])
            both_have_read.wait()
            end_in(archive, [completed_ending(attempt)])

    with ThreadPoolExecutor() as threads:
        list(threads.map(complete, [first.id, second.id]))
    assert states(store, workflow)["child"] is State.READY


def test_a_claim_leaves_out_what_another_turn_has_locked_and_does_not_wait(store):
    workflow = submit(store, {f"job{n}": [] for n in range(4)})
    with other(store) as mine, mine.turn() as archive:
        first = claim_in(archive, workflow, limit=2)
        with store.turn() as beside:
            second = claim_in(beside, workflow, limit=2)
    assert {one.job.name for one in first} | {one.job.name for one in second} == {f"job{n}" for n in range(4)}
    assert len({one.id for one in (*first, *second)}) == 4


def test_a_writer_waits_for_turns_and_turns_for_a_writer(store):
    began = threading.Event()
    order: list[str] = []

    def hold() -> None:
        with other(store) as mine:
            began.set()
            with mine.write():
                order.append("write")

    with ThreadPoolExecutor() as threads:
        with store.turn() as archive:
            archive.overviews.delayed(0.0)
            done = threads.submit(hold)
            assert began.wait(30)
            assert wait([done], timeout=0.3).not_done
            order.append("turn")
        done.result(30)
    assert order == ["turn", "write"]


def test_what_concerns_others_is_refused_in_a_turn(store):
    with pytest.raises(NotAlone), store.turn() as archive:
        archive.require_alone()
    with store.write() as archive:
        archive.require_alone()


def test_turns_of_one_workflow_do_not_wait_for_each_others_commits(store):
    workflow = submit(store, {f"job{n}": [] for n in range(4)})
    first, second = claim(store, workflow, limit=2)
    start(store, [first, second])

    def complete(runner: int, attempt: int) -> None:
        with other(store) as mine, mine.turn(runner) as archive:
            end_in(archive, [completed_ending(attempt)])
            claim_in(archive, workflow, limit=1)

    with other(store) as mine, mine.turn(1) as archive:
        end_in(archive, [completed_ending(first.id)])
        claim_in(archive, workflow, limit=1)
        write_shared_rows(archive.database)
        archive.database.counts.clear()
        with ThreadPoolExecutor() as threads:
            threads.submit(complete, 2, second.id).result(10)
    with store.read() as archive:
        assert archive.workflows.find(workflow).counts == {State.QUEUED: 2, State.COMPLETED: 2}
        assert archive.check() == []


@pytest.mark.parametrize("seed", range(3))
def test_turns_over_the_same_workflows_end_without_deadlock_and_the_counts_are_right(store, seed):
    middle = [f"middle{number}" for number in range(12)]
    workflows = [
        submit(store, {"top": []} | {name: ["top"] for name in middle} | {"end": middle}, name=f"w{number}")
        for number in range(5)
    ]

    def work(number: int) -> int:
        chance, done, idle = random.Random(100 * seed + number), 0, 0
        with other(store) as mine:
            while idle < 40:
                running = []
                for workflow in chance.sample(workflows, len(workflows)):
                    with mine.turn(number) as archive:
                        running += claim_in(archive, workflow, limit=chance.randint(1, 3))
                chance.shuffle(running)
                with mine.turn(number) as archive:
                    end_in(archive, [completed_ending(one.id) for one in running])
                done += len(running)
                idle = 0 if running else idle + 1
        return done

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, range(4))) == 5 * 14
    assert {state for workflow in workflows for state in states(store, workflow).values()} == {State.COMPLETED}
