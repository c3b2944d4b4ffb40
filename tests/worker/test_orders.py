"""Orders: cancel, recall, stop, and an end of the runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, pid_in, write_pid

from rekindle.domain.definition import Step
from rekindle.domain.states import Cause, State
from rekindle.journal.log import read_records
from rekindle.journal.orders import Stop
from rekindle.journal.processes import start_of
from rekindle.journal.records import Closed, Ended, Opened, Returned

SLEEP = "import time\ndef f(s): time.sleep(s)\n"


@pytest.mark.parametrize("kind", ["command", "call", "call step"])
def test_cancel_ends_what_runs_and_what_waits_and_nothing_else(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", SLEEP)
    main = (
        Step("main", run="sleep ${matrix.s}")
        if kind == "command"
        else Step("main", call="m:f", args={"s": "${matrix.s}"})
    )
    recipe = harness.recipe(*(main, Step("then", run="/bin/true")) if kind == "call step" else (main,))
    work = [harness.make(recipe, binding={"s": s}) for s in (600, 0, 0.01, 0)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    harness.executor.cancel(harness.workers[0].name, [work[0].token, work[2].token, "nobody's"])
    ends = [harness.end_of(one) for one in work]
    assert [end.state for end in ends] == [State.CANCELED, State.COMPLETED, State.CANCELED, State.COMPLETED]
    assert [end.cause for end in ends] == [Cause.CANCELED, None, Cause.CANCELED, None]
    assert (ends[0].started is None, ends[2].started is None) == (False, True)
    assert [step.state for step in ends[0].steps] == [State.CANCELED]
    assert ends[2].steps == ()


def test_a_call_that_is_not_canceled_survives_the_cancel_of_its_neighbours(harness: WorkerHarness) -> None:
    harness.module(
        "m", "import os, time\ndef f():\n    while not os.path.exists('go'): time.sleep(0.01)\n    return 1\n"
    )
    recipe = harness.recipe(Step("main", call="m:f"))
    work = [harness.make(recipe) for _ in range(3)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    harness.executor.cancel(harness.workers[0].name, [work[1].token])
    assert harness.end_of(work[1]).cause == Cause.CANCELED
    (harness.project / "go").touch()
    assert harness.end_of(work[0]).result == "1"
    assert harness.end_of(work[2]).result == "1"


@pytest.mark.parametrize("kind", ["command", "call"])
def test_recall_gives_back_what_has_not_started_at_once(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", SLEEP)
    step = Step("main", run="sleep 600") if kind == "command" else Step("main", call="m:f", args={"s": 600})
    recipe = harness.recipe(step)
    work = [harness.make(recipe) for _ in range(50)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    harness.executor.recall(harness.workers[0].name)
    harness.until(harness.returned)
    assert harness.returned() == [one.token for one in work[1:]]
    assert harness.all(Returned)[0].attempts == tuple(one.attempt for one in work[1:])
    assert harness.ends() == {}
    harness.executor.cancel(harness.workers[0].name, [work[0].token])
    assert harness.end_of(work[0]).cause == Cause.CANCELED


def test_recalled_work_is_returned_or_ended_never_both_and_never_neither(harness: WorkerHarness) -> None:
    harness.module("m", "def f(): return 1\n")
    recipe = harness.recipe(Step("main", call="m:f"))
    tokens = []
    for _ in range(20):
        work = [harness.make(recipe) for _ in range(200)]
        tokens += [one.token for one in work]
        harness.give(*work)
        harness.executor.recall(harness.workers[0].name)
    harness.until(lambda: len(harness.ends()) + len(harness.returned()) == len(tokens))
    assert set(harness.ends()) | set(harness.returned()) == set(tokens)
    assert not set(harness.ends()) & set(harness.returned())
    assert all(end.state == State.COMPLETED for end in harness.ends().values())


@pytest.mark.parametrize("kind", ["command", "call"])
@pytest.mark.parametrize("how", ["stop", "eof", "sigterm"])
def test_a_stop_finishes_what_runs_and_gives_back_the_rest(harness: WorkerHarness, how: str, kind: str) -> None:
    harness.module("m", "import os, time\ndef f():\n    while not os.path.exists('go'): time.sleep(0.01)\n")
    command = Step("main", run="while ! [ -e go ]; do sleep 0.01; done")
    recipe = harness.recipe(command if kind == "command" else Step("main", call="m:f"))
    work = [harness.make(recipe) for _ in range(3)]
    harness.give(*work)
    harness.until(lambda: harness.started(work[0]))
    worker = harness.workers[0]
    if how == "stop":
        harness.executor._workers[worker.name].order(Stop())
    elif how == "eof":
        harness.executor._workers[worker.name].close_orders()
    else:
        os.kill(worker.pid, signal.SIGTERM)
    harness.until(harness.returned)
    (harness.project / "go").touch()
    harness.until(lambda: harness.gone)
    records = harness.records[worker.name]
    assert isinstance(records[0], Opened)
    assert isinstance(records[-1], Closed)
    assert [record.token for record in records if isinstance(record, Ended)] == [work[0].token]
    assert harness.ends()[work[0].token].state == State.COMPLETED
    assert harness.returned() == [work[1].token, work[2].token]
    assert not (harness.store / "run" / worker.name).exists()


def test_a_worker_that_is_told_to_stop_still_hears_cancel(harness: WorkerHarness) -> None:
    work = harness.make(harness.recipe(Step("main", run="sleep 600")))
    harness.give(work)
    harness.until(lambda: harness.started(work))
    harness.executor._workers[harness.workers[0].name].order(Stop())
    harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED


def test_a_worker_whose_runner_is_killed_finishes_and_goes(tmp_path: Path) -> None:
    """The runner is a process of its own here, killed while its worker runs a command."""
    pid_file, go = tmp_path / "pid", tmp_path / "go"
    line = f"{write_pid(pid_file)}; while ! [ -e {go} ]; do sleep 0.01; done"
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1] / "executors")!r})
from pathlib import Path
from harness import WorkerHarness
from rekindle.domain.definition import Step
harness = WorkerHarness(Path({str(tmp_path)!r}))
recipe = harness.recipe(Step("main", run={line!r}))
work = [harness.make(recipe) for _ in range(2)]
harness.give(*work)
harness.until(lambda: harness.started(work[0]) and Path({str(pid_file)!r}).exists())
print(harness.workers[0].journal, harness.workers[0].pid, flush=True)
time.sleep(600)
"""
    runner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    journal, worker = runner.stdout.readline().split()
    runner.kill()
    runner.wait()
    runner.stdout.close()
    command = pid_in(pid_file)
    assert command is not None
    assert alive(command)
    go.touch()
    _wait_gone(int(worker))
    records, _ = read_records(journal)
    names = ["Opened", "RecordedCode", "Started", "Returned", "Leaving", "Ended", "Closed"]
    assert [type(record).__name__ for record in records] == names
    assert records[4].tokens == (records[2].token,)  # type: ignore[union-attr]
    assert records[5].state == State.COMPLETED  # type: ignore[union-attr]


def _wait_gone(pid: int) -> None:
    limit = time.monotonic() + 20
    while start_of(pid) is not None:
        assert time.monotonic() < limit
        time.sleep(0.01)
