"""The local executor: workers that die, more orders than a pipe holds, and closing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, pid_in, write_pid

from rekindle.domain.definition import Step
from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import Cause, State
from rekindle.executors.local import LocalExecutor
from rekindle.executors.pool import Executor
from rekindle.journal.log import JournalWriter, read_records, seal_journal
from rekindle.journal.paths import journal_path
from rekindle.journal.processes import boot_id, start_of
from rekindle.journal.records import Closed, Opened, Sealed, Started

LOST = (State.FAILED, Cause.LOST)


def test_it_is_an_executor(harness: WorkerHarness) -> None:
    executor: Executor = harness.executor
    assert executor.name == "local"


def test_a_journal_opens_with_its_workers_process(harness: WorkerHarness) -> None:
    opened = harness.until(lambda: harness.all(Opened))[0]
    worker = harness.workers[0]
    assert (opened.worker, opened.pid, opened.pid_start) == (worker.name, worker.pid, worker.pid_start)
    assert opened.boot_id == boot_id()
    assert start_of(worker.pid) == worker.pid_start
    assert Path(worker.journal).parent == harness.store / "journal"


def test_a_killed_worker_loses_its_running_attempt_and_returns_the_others(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    leader, daemon = tmp_path / "leader", tmp_path / "daemon"
    line = f"setsid -f sh -c '{write_pid(daemon)}; sleep 600'; echo said; {write_pid(leader)}; sleep 600"
    recipe = harness.recipe(Step("quick", run="/bin/true"), Step("slow", run=line))
    work = [harness.make(recipe) for _ in range(3)]
    harness.give(*work)
    leader_pid, daemon_pid = harness.until(
        lambda: pid_in(leader) and pid_in(daemon) and (pid_in(leader), pid_in(daemon))
    )
    worker = harness.workers[0]
    os.kill(worker.pid, signal.SIGKILL)
    end = harness.end_of(work[0])
    assert (end.state, end.cause) == LOST
    assert end.started is not None
    assert [(step.position, step.name, step.cause) for step in end.steps] == [(1, "slow", Cause.LOST)]
    assert end.failure is not None
    assert "SIGKILL" in end.failure.message
    assert json.loads(end.evidence or "")["exit_code"] == -9
    assert harness.returned() == [work[1].token, work[2].token]
    assert harness.gone == [worker.name]
    assert isinstance(harness.records[worker.name][-1], Closed)
    assert not alive(leader_pid)
    assert not alive(daemon_pid)
    assert harness.log(work[0], position=1) == "said\n"
    harness.add_worker()
    harness.give(work[1])
    harness.until(lambda: harness.started(work[1]))


@pytest.mark.parametrize("kind", ["command", "call"])
def test_what_a_worker_gave_back_and_got_again_is_lost_when_it_is_killed(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", "import time\ndef f():\n    time.sleep(600)\n")
    recipe = harness.recipe(Step("main", run="sleep 600") if kind == "command" else Step("main", call="m:f"))
    first, second = harness.make(recipe), harness.make(recipe)
    harness.give(first, second)
    harness.until(lambda: harness.started(first))
    worker = harness.workers[0]
    harness.executor.recall(worker.name)
    harness.until(lambda: harness.returned() == [second.token])
    harness.executor.cancel(worker.name, [first.token])
    harness.end_of(first)
    harness.give(second)
    harness.until(lambda: harness.started(second))
    os.kill(worker.pid, signal.SIGKILL)
    end = harness.end_of(second)
    assert (end.state, end.cause) == LOST
    assert harness.returned() == [second.token]


def test_the_call_host_of_a_killed_worker_is_killed(harness: WorkerHarness) -> None:
    harness.module("m", "import os, time\ndef f():\n    print('pid', flush=True); time.sleep(600)\n")
    work = [harness.make(harness.recipe(Step("main", call="m:f"))) for _ in range(2)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    host = harness.all(Started)[0].pid
    os.kill(harness.workers[0].pid, signal.SIGKILL)
    end = harness.end_of(work[0])
    assert (end.state, end.cause) == LOST
    assert harness.returned() == [work[1].token]
    assert not alive(host)
    assert Path(work[0].folder).exists() is False


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("kind", ["run", "call"])
def test_each_attempt_of_a_killed_worker_is_journalled_once(harness: WorkerHarness, moment: float, kind: str) -> None:
    harness.module("m", "def f(): return 1\n")
    recipe = harness.recipe(Step("main", run="/bin/true") if kind == "run" else Step("main", call="m:f"))
    work = [harness.make(recipe) for _ in range(2000)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    limit = time.monotonic() + moment
    while time.monotonic() < limit:
        harness.look()
    os.kill(harness.workers[0].pid, signal.SIGKILL)
    harness.until(lambda: harness.gone)
    ends, returned = harness.ends(), harness.returned()
    assert len(returned) == len(set(returned))
    assert not set(ends) & set(returned)
    assert set(ends) | set(returned) == {one.token for one in work}
    assert sum(end.state != State.COMPLETED for end in ends.values()) <= 1


def test_the_torn_line_of_a_dead_worker_is_cut_off(harness: WorkerHarness) -> None:
    worker = harness.workers[0]
    work = harness.make(harness.recipe(Step("main", run="sleep 600")))
    harness.give(work)
    harness.until(lambda: harness.started(work))
    writer = JournalWriter(worker.journal)
    os.kill(worker.pid, signal.SIGKILL)
    os.write(writer.fd, b'1234abcd {"type":"ended","att')
    writer.close()
    assert harness.end_of(work).cause == Cause.LOST
    assert isinstance(read_records(worker.journal)[0][-1], Closed)


def test_more_orders_than_a_pipe_holds_do_not_block(harness: WorkerHarness) -> None:
    slow = harness.make(harness.recipe(Step("main", run="while ! [ -e go ]; do sleep 0.01; done")))
    harness.give(slow)
    harness.until(lambda: harness.started(slow))
    os.kill(harness.workers[0].pid, signal.SIGSTOP)
    harness.module("m", "def f(): pass\n")
    recipe = harness.recipe(Step("main", call="m:f"), params={"big": "x" * 100_000})
    work = [harness.make(recipe, inputs=json.dumps({"x": "y" * 200})) for _ in range(2000)]
    harness.give(*work)
    os.kill(harness.workers[0].pid, signal.SIGCONT)
    (harness.project / "go").touch()
    harness.until(lambda: len(harness.ends()) == 2001)
    assert all(end.state == State.COMPLETED for end in harness.ends().values())


def test_wait_returns_readable_descriptors_and_times_out(harness: WorkerHarness) -> None:
    harness.until(lambda: harness.all(Opened))
    readable, writable = os.pipe()
    try:
        harness.executor.wait(0.0)
        begin = time.monotonic()
        assert harness.executor.wait(0.1, [readable]) == []
        assert time.monotonic() - begin < 5
        os.write(writable, b"x")
        assert harness.executor.wait(None, [readable]) == [readable]
    finally:
        os.close(readable)
        os.close(writable)


def test_close_lets_running_attempts_finish_within_the_grace(tmp_path: Path) -> None:
    harness = WorkerHarness(tmp_path, slots=2)
    recipe = harness.recipe(Step("main", run="sleep 0.3"))
    work = [harness.make(recipe) for _ in range(4)]
    harness.give(*work[:2], worker=0)
    harness.give(*work[2:], worker=1)
    harness.until(lambda: harness.started(work[0]) and harness.started(work[2]))
    harness.executor.close(20)
    harness.look()
    assert {token: end.state for token, end in harness.ends().items()} == {
        work[0].token: State.COMPLETED,
        work[2].token: State.COMPLETED,
    }
    assert sorted(harness.returned()) == sorted([work[1].token, work[3].token])
    assert sorted(harness.gone) == sorted(worker.name for worker in harness.workers)
    assert list((harness.store / "run").iterdir()) == []


def test_close_kills_attempts_that_do_not_end(tmp_path: Path) -> None:
    harness = WorkerHarness(tmp_path)
    pid_file = tmp_path / "pid"
    work = harness.make(harness.recipe(Step("main", run=f"{write_pid(pid_file)}; sleep 600")))
    harness.give(work)
    pid = harness.until(lambda: pid_in(pid_file))
    harness.executor.close(0.1)
    harness.executor.close(0.1)
    harness.look()
    assert harness.ends()[work.token].cause == Cause.LOST
    assert not alive(pid)


def test_an_interpreter_that_cannot_run_workers_is_an_error(tmp_path: Path) -> None:
    executor = LocalExecutor(str(tmp_path), python="/bin/false")
    executor.open()
    try:
        limit = time.monotonic() + 10
        while not executor.gone():
            assert time.monotonic() < limit
            executor.wait(0.1)
        with pytest.raises(ExecutorError, match="before it began"):
            executor.open()
    finally:
        executor.close(0)
    with pytest.raises(ExecutorError, match="/no/such/python"):
        LocalExecutor(str(tmp_path), python="/no/such/python").open()


def test_a_worker_whose_journal_is_sealed_is_no_failed_start(harness: WorkerHarness) -> None:
    """A server that was started again seals the journal of a worker that its predecessor has ordered."""
    assert seal_journal(journal_path(str(harness.store), "sealed"), Sealed("a test", 0.0))
    harness.executor.open("sealed")
    limit = time.monotonic() + 30
    while "sealed" not in [one.name for one in harness.executor.gone()]:
        assert time.monotonic() < limit
        harness.executor.wait(0.1)
    assert harness.executor.open().name
