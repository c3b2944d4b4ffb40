"""The local executor: workers that die, orders that do not fit a pipe, and an orderly end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from floor import Floor, alive, pid_in, write_pid

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Step
from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import State
from rekindle.executors.local import LocalExecutor
from rekindle.executors.port import Executor
from rekindle.journal.ledger import Writer, read
from rekindle.journal.processes import boot_id, start_of
from rekindle.journal.records import Closed, Opened, Started

LOST = (State.FAILED, Cause.LOST)


def test_it_is_an_executor(floor: Floor) -> None:
    executor: Executor = floor.executor
    assert executor.name == "local"


def test_a_journal_opens_with_who_its_worker_is(floor: Floor) -> None:
    opened = floor.until(lambda: floor.all(Opened))[0]
    worker = floor.workers[0]
    assert (opened.worker, opened.pid, opened.pid_start) == (worker.name, worker.pid, worker.pid_start)
    assert opened.boot_id == boot_id()
    assert start_of(worker.pid) == worker.pid_start
    assert Path(worker.journal).parent == floor.store / "journal"


def test_a_worker_that_is_killed_loses_what_ran_and_gives_back_what_did_not(floor: Floor, tmp_path: Path) -> None:
    leader, daemon = tmp_path / "leader", tmp_path / "daemon"
    line = f"setsid -f sh -c '{write_pid(daemon)}; sleep 600'; echo said; {write_pid(leader)}; sleep 600"
    recipe = floor.recipe(Step("quick", run="/bin/true"), Step("slow", run=line))
    work = [floor.make(recipe) for _ in range(3)]
    floor.give(*work)
    leader_pid, daemon_pid = floor.until(lambda: pid_in(leader) and pid_in(daemon) and (pid_in(leader), pid_in(daemon)))
    worker = floor.workers[0]
    os.kill(worker.pid, signal.SIGKILL)
    end = floor.end_of(work[0])
    assert (end.state, end.cause) == LOST
    assert end.started is not None
    assert [(step.position, step.name, step.cause) for step in end.steps] == [(1, "slow", Cause.LOST)]
    assert end.failure is not None
    assert "SIGKILL" in end.failure.message
    assert json.loads(end.evidence or "")["exit_code"] == -9
    assert floor.returned() == [work[1].token, work[2].token]
    assert floor.gone == [worker.name]
    assert isinstance(floor.records[worker.name][-1], Closed)
    assert not alive(leader_pid)
    assert not alive(daemon_pid)
    assert floor.log(work[0], position=1) == "said\n"
    floor.replace(worker)
    floor.give(work[1])
    floor.until(lambda: floor.started(work[1]))


def test_a_worker_that_is_killed_takes_its_call_host_along(floor: Floor) -> None:
    floor.module("m", "import os, time\ndef f():\n    print('pid', flush=True); time.sleep(600)\n")
    work = [floor.make(floor.recipe(Step("main", call="m:f"))) for _ in range(2)]
    floor.give(*work)
    floor.until(lambda: floor.started(work[0]))
    host = floor.all(Started)[0].pid
    os.kill(floor.workers[0].pid, signal.SIGKILL)
    end = floor.end_of(work[0])
    assert (end.state, end.cause) == LOST
    assert floor.returned() == [work[1].token]
    assert not alive(host)
    assert Path(work[0].folder).exists() is False


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("kind", ["run", "call"])
def test_whenever_a_worker_is_killed_each_attempt_is_told_once(floor: Floor, moment: float, kind: str) -> None:
    floor.module("m", "def f(): return 1\n")
    recipe = floor.recipe(Step("main", run="/bin/true") if kind == "run" else Step("main", call="m:f"))
    work = [floor.make(recipe) for _ in range(2000)]
    floor.give(*work)
    floor.until(lambda: floor.started(work[0]))
    limit = time.monotonic() + moment
    while time.monotonic() < limit:
        floor.look()
    os.kill(floor.workers[0].pid, signal.SIGKILL)
    floor.until(lambda: floor.gone)
    ends, returned = floor.ends(), floor.returned()
    assert len(returned) == len(set(returned))
    assert not set(ends) & set(returned)
    assert set(ends) | set(returned) == {one.token for one in work}
    assert sum(end.state != State.COMPLETED for end in ends.values()) <= 1


def test_the_torn_line_of_a_dead_worker_is_cut_off(floor: Floor) -> None:
    worker = floor.workers[0]
    work = floor.make(floor.recipe(Step("main", run="sleep 600")))
    floor.give(work)
    floor.until(lambda: floor.started(work))
    writer = Writer(worker.journal)
    os.kill(worker.pid, signal.SIGKILL)
    os.write(writer.fd, b'1234abcd {"type":"ended","att')
    writer.close()
    assert floor.end_of(work).cause == Cause.LOST
    assert isinstance(read(worker.journal)[0][-1], Closed)


def test_more_orders_than_a_pipe_holds_do_not_block(floor: Floor) -> None:
    slow = floor.make(floor.recipe(Step("main", run="while ! [ -e go ]; do sleep 0.01; done")))
    floor.give(slow)
    floor.until(lambda: floor.started(slow))
    os.kill(floor.workers[0].pid, signal.SIGSTOP)
    floor.module("m", "def f(): pass\n")
    recipe = floor.recipe(Step("main", call="m:f"), params={"big": "x" * 100_000})
    work = [floor.make(recipe, inputs=json.dumps({"x": "y" * 200})) for _ in range(2000)]
    floor.give(*work)
    os.kill(floor.workers[0].pid, signal.SIGCONT)
    (floor.project / "go").touch()
    floor.until(lambda: len(floor.ends()) == 2001)
    assert all(end.state == State.COMPLETED for end in floor.ends().values())


def test_waiting_tells_which_other_descriptors_are_readable_and_ends_in_time(floor: Floor) -> None:
    floor.until(lambda: floor.all(Opened))
    readable, writable = os.pipe()
    try:
        floor.executor.wait(0.0)
        begin = time.monotonic()
        assert floor.executor.wait(0.1, [readable]) == []
        assert time.monotonic() - begin < 5
        os.write(writable, b"x")
        assert floor.executor.wait(None, [readable]) == [readable]
    finally:
        os.close(readable)
        os.close(writable)


def test_closing_lets_what_runs_end_within_the_grace(tmp_path: Path) -> None:
    floor = Floor(tmp_path, slots=2)
    recipe = floor.recipe(Step("main", run="sleep 0.3"))
    work = [floor.make(recipe) for _ in range(4)]
    floor.give(*work[:2], worker=0)
    floor.give(*work[2:], worker=1)
    floor.until(lambda: floor.started(work[0]) and floor.started(work[2]))
    floor.executor.close(20)
    floor.look()
    assert {token: end.state for token, end in floor.ends().items()} == {
        work[0].token: State.COMPLETED,
        work[2].token: State.COMPLETED,
    }
    assert sorted(floor.returned()) == sorted([work[1].token, work[3].token])
    assert sorted(floor.gone) == sorted(worker.name for worker in floor.workers)
    assert list((floor.store / "run").iterdir()) == []


def test_closing_kills_what_does_not_end(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    pid_file = tmp_path / "pid"
    work = floor.make(floor.recipe(Step("main", run=f"{write_pid(pid_file)}; sleep 600")))
    floor.give(work)
    pid = floor.until(lambda: pid_in(pid_file))
    floor.executor.close(0.1)
    floor.executor.close(0.1)
    floor.look()
    assert floor.ends()[work.token].cause == Cause.LOST
    assert not alive(pid)


def test_an_interpreter_that_cannot_run_workers_is_told(tmp_path: Path) -> None:
    executor = LocalExecutor(str(tmp_path), python="/bin/false")
    worker = executor.open(1)[0]
    try:
        limit = time.monotonic() + 10
        while not executor.gone():
            assert time.monotonic() < limit
            executor.wait(0.1)
        with pytest.raises(ExecutorError, match="before it began"):
            executor.replace(worker.name)
    finally:
        executor.close(0)
    with pytest.raises(ExecutorError, match="/no/such/python"):
        LocalExecutor(str(tmp_path), python="/no/such/python").open(1)
