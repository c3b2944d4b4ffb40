"""Whoever has to end is asked first, and killed after a while: the command, and all that it has started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, pid_in

from rekindle.domain.definition import Each, Step
from rekindle.domain.states import Cause, State
from rekindle.journal.orders import Assignment

DAEMON = (
    "import os, signal, sys, time\n"
    "def tell(path, text):\n"
    "    open(path + '.new', 'w').write(text)\n"
    "    os.rename(path + '.new', path)\n"
    "path, stubborn = sys.argv[1], sys.argv[2] == 'stubborn'\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "def end(*_):\n"
    "    tell(path + '.asked', 'once\\n')\n"
    "    if stubborn: return\n"
    "    time.sleep(0.4)\n"
    "    tell(path + '.done', 'tidy\\n')\n"
    "    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "tell(path, f'{os.getpid()}\\n')\n"
    "while True: time.sleep(1)\n"
)


@pytest.fixture(autouse=True)
def daemon(harness: WorkerHarness) -> None:
    """A program that leaves its parent, its group and its session; asked to end, it takes its time, or never does."""
    harness.module("daemon", DAEMON)


def left_by(harness: WorkerHarness, line: str, each: Each | None = None) -> tuple[Assignment, int]:
    """An attempt at a command that leaves such a daemon, once that is there; and the daemon."""
    work = harness.make(harness.recipe(Step("main", run=line, each=each)))
    harness.give(work)
    pid = harness.until(lambda: pid_in(harness.project / "d"))
    return work, pid


@pytest.mark.parametrize("each", [None, Each(items=(1,))], ids=["command", "subtask"])
def test_a_daemon_that_ignores_sigterm_is_killed_after_the_grace(harness: WorkerHarness, each: Each | None) -> None:
    work, pid = left_by(harness, "python3 daemon.py d stubborn; sleep 600", each)
    harness.executor.cancel(harness.workers[0].name, [work.token])
    end = harness.end_of(work)
    assert (end.state, end.cause) == (State.CANCELED, Cause.CANCELED)
    assert (harness.project / "d.asked").exists()
    assert not alive(pid)


@pytest.mark.parametrize("each", [None, Each(items=(1,))], ids=["command", "subtask"])
def test_a_daemon_that_tidies_up_when_asked_has_the_time_for_that(harness: WorkerHarness, each: Each | None) -> None:
    """The command itself has ended long before."""
    work, pid = left_by(harness, "python3 daemon.py d tidy; exec sleep 600", each)
    harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).state == State.CANCELED
    assert (harness.project / "d.done").exists()
    assert not alive(pid)


@pytest.mark.parametrize("each", [None, Each(items=(1,))], ids=["command", "subtask"])
def test_what_a_shell_waits_for_has_its_grace_although_the_shell_dies_at_once(
    harness: WorkerHarness, each: Each | None
) -> None:
    program = (
        "import os, signal, time\n"
        "def end(*_):\n"
        "    time.sleep(0.4)\n"
        "    open('tidy', 'w').close()\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open('ready', 'w').close()\n"
        "while True: time.sleep(1)\n"
    )
    harness.module("slow", program)
    work = harness.make(harness.recipe(Step("main", run="python3 slow.py | cat", each=each)))
    harness.give(work)
    harness.until((harness.project / "ready").exists)
    harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED
    assert (harness.project / "tidy").exists()


def test_nobody_is_asked_twice(harness: WorkerHarness) -> None:
    harness.module(
        "count",
        "import os, signal, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: seen.append(1))\n"
        "open('ready', 'w').close()\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "open('seen', 'w').write(str(len(seen)))\n",
    )
    work = harness.make(harness.recipe(Step("main", run="python3 count.py")))
    harness.give(work)
    harness.until((harness.project / "ready").exists)
    harness.executor.cancel(harness.workers[0].name, [work.token])
    harness.end_of(work)
    assert (harness.project / "seen").read_text() == "1"


def test_a_second_cancel_ends_the_grace(harness: WorkerHarness) -> None:
    work, pid = left_by(harness, "python3 daemon.py d stubborn; exec sleep 600")
    for _ in range(2):
        harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED
    assert not alive(pid)


def test_a_process_that_is_stopped_is_ended_too(harness: WorkerHarness, tmp_path: Path) -> None:
    work, pid = left_by(harness, "python3 daemon.py d tidy; exec sleep 600")
    os.kill(pid, signal.SIGSTOP)
    harness.executor.cancel(harness.workers[0].name, [work.token])
    harness.end_of(work)
    assert (harness.project / "d.done").exists()
    assert not alive(pid)


@pytest.mark.parametrize("kind", ["call", "call step", "subtask"])
@pytest.mark.parametrize("manner", ["tidy", "stubborn"])
def test_what_a_call_has_started_has_its_grace(harness: WorkerHarness, kind: str, manner: str) -> None:
    harness.module(
        "m",
        "import subprocess, time\n"
        f"def f(): subprocess.run(['python3', 'daemon.py', 'd', '{manner}']); time.sleep(600)\n"
        "def g(): return 1\n",
    )
    each = Each(items=(1,)) if kind == "subtask" else None
    main = Step("main", call="m:f", each=each)
    work = harness.make(harness.recipe(*((main, Step("then", run="/bin/true")) if kind == "call step" else (main,))))
    behind = harness.make(harness.recipe(Step("main", call="m:g")))
    harness.give(work, behind)
    pid = harness.until(lambda: pid_in(harness.project / "d"))
    harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED
    assert (harness.project / "d.asked").exists()
    assert (harness.project / "d.done").exists() == (manner == "tidy")
    assert not alive(pid)
    assert harness.end_of(behind).result == "1"


def test_a_second_cancel_ends_the_grace_of_what_a_call_has_started(harness: WorkerHarness) -> None:
    line = "subprocess.run(['python3', 'daemon.py', 'd', 'stubborn']); time.sleep(600)"
    harness.module("m", f"import subprocess, time\ndef f(): {line}\n")
    work = harness.make(harness.recipe(Step("main", call="m:f")))
    harness.give(work)
    pid = harness.until(lambda: pid_in(harness.project / "d"))
    for _ in range(2):
        harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED
    assert not alive(pid)


TIDY = "import subprocess, time\ndef f(): subprocess.run(['python3', 'daemon.py', 'd', 'tidy']); time.sleep(600)\n"


@pytest.mark.parametrize("kind", ["command", "subtask", "call"])
def test_without_a_grace_nobody_is_asked(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", TIDY)
    line = "python3 daemon.py d tidy; exec sleep 600"
    each = Each(items=(1,)) if kind == "subtask" else None
    main = Step("main", call="m:f") if kind == "call" else Step("main", run=line, each=each)
    work = harness.make(harness.recipe(main, grace=0.0))
    harness.give(work)
    pid = harness.until(lambda: pid_in(harness.project / "d"))
    harness.executor.cancel(harness.workers[0].name, [work.token])
    assert harness.end_of(work).cause == Cause.CANCELED
    assert not (harness.project / "d.asked").exists()
    assert not alive(pid)


def test_what_is_out_of_time_is_not_asked_either(harness: WorkerHarness) -> None:
    line = "trap 'touch asked; exit' TERM; while :; do sleep 0.01; done"
    assert harness.command(line, grace=0.0, time=0.5).cause == Cause.TIMEOUT
    assert not (harness.project / "asked").exists()


@pytest.mark.parametrize("kind", ["command", "call step", "call"])
def test_an_orphan_ends_what_it_runs_when_whoever_takes_over_wants_that(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", TIDY)
    line = "python3 daemon.py d tidy; exec sleep 600"
    main = Step("main", run=line) if kind == "command" else Step("main", call="m:f")
    then = (Step("then", run="true"),) if kind == "call step" else ()
    recipe = harness.recipe(main, *then, grace=60.0)
    work, behind = harness.make(recipe), harness.make(recipe)
    harness.give(work, behind)
    pid = harness.until(lambda: pid_in(harness.project / "d"))
    os.kill(harness.workers[0].pid, signal.SIGUSR1)
    assert harness.end_of(work).cause == Cause.CANCELED
    assert harness.until(harness.returned) == [behind.token]
    assert (harness.project / "d.done").exists()
    assert not alive(pid)
