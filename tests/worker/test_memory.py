"""Limits of memory: who goes over one is ended, with all that it has started, and nobody else is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, pid_in, write_pid

from rekindle.domain.definition import Each, Step
from rekindle.domain.states import Cause, State
from rekindle.journal.records import Ended, Started, Subtasks
from rekindle.worker.limits import held_at_most, held_exactly

MIB = 1024 * 1024
LIMIT = 100 * MIB

HOLD = (
    "import os, sys, time\n"
    "kept = []\n"
    "def hold(size):\n"
    "    kept.append(bytearray(b'x') * (size * 1024 * 1024))\n"
    "def grow():\n"
    "    while True:\n"
    "        hold(10)\n"
    "        time.sleep(0.01)\n"
    "def f(size, seconds=0):\n"
    "    hold(size)\n"
    "    time.sleep(seconds)\n"
    "    return os.getpid()\n"
    "def freed(size):\n"
    "    hold(size)\n"
    "    time.sleep(0.3)\n"
    "    kept.clear()\n"
    "if __name__ == '__main__':\n"
    "    f(int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 1 else grow()\n"
)


@pytest.fixture(autouse=True)
def hold(harness: WorkerHarness) -> None:
    """A module of the project whose functions hold memory, and that is a program too."""
    harness.module("hold", HOLD)


def check_evidence(end: Ended, least: int = LIMIT) -> None:
    """It ended for its limit, and says by how much it was over."""
    assert (end.state, end.cause) == (State.FAILED, Cause.OOM)
    found = json.loads(end.evidence or "")
    assert found["limit_bytes"] == LIMIT
    assert found["peak_bytes"] > least
    assert found["at"] <= end.ended
    assert end.max_rss_bytes is not None
    assert end.max_rss_bytes >= found["peak_bytes"]
    assert end.failure is not None
    assert "over its limit of 100.0 MiB" in end.failure.message


def test_a_command_over_its_limit_is_killed_at_once(harness: WorkerHarness) -> None:
    end = harness.command("python3 hold.py", memory=LIMIT)
    check_evidence(end)
    assert end.signal == 9
    assert [(step.state, step.cause) for step in end.steps] == [(State.FAILED, Cause.OOM)]


def test_the_limit_of_an_assignment_stands_over_the_recipes(harness: WorkerHarness) -> None:
    step = Step("main", run="python3 hold.py")
    check_evidence(harness.run(step, memory=10_000 * MIB, more={"memory": LIMIT}))


def test_what_several_processes_hold_is_added_up_and_all_of_them_die(harness: WorkerHarness, tmp_path: Path) -> None:
    """None of them is over the limit by itself. One has left the group, another the tree."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    hold = "exec python3 hold.py 45 600"
    line = (
        f"sh -c '{write_pid(inside)}; {hold}' & setsid sh -c '{write_pid(outside)}; {hold}' & "
        "sh -c 'setsid python3 hold.py 45 600 &'; wait"
    )
    check_evidence(harness.command(line, memory=LIMIT))
    for path in (inside, outside):
        pid = pid_in(path)
        assert pid is not None
        assert not alive(pid)


def test_what_processes_share_counts_once(harness: WorkerHarness) -> None:
    harness.module(
        "fork",
        "import os, time\n"
        "kept = bytearray(b'x') * (60 << 20)\n"
        "children = [os.fork() for _ in range(1)] + [os.fork() for _ in range(1)]\n"
        "time.sleep(1)\n",
    )
    assert harness.command("python3 fork.py", memory=LIMIT).state == State.COMPLETED


def test_what_can_be_read_again_does_not_count(harness: WorkerHarness) -> None:
    harness.module(
        "mapped",
        "import mmap, time\n"
        "with open('large', 'wb') as file: file.write(bytes(200 << 20))\n"
        "with open('large', 'rb') as file:\n"
        "    seen = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "    sum(seen[at] for at in range(0, len(seen), 4096))\n"
        "    time.sleep(0.5)\n",
    )
    assert harness.command("python3 mapped.py", memory=LIMIT).state == State.COMPLETED


def test_what_stays_below_its_limit_or_has_none_is_left_alone(harness: WorkerHarness) -> None:
    assert harness.command("python3 hold.py 50 0.6", memory=LIMIT).state == State.COMPLETED
    assert harness.command("python3 hold.py 150 0.6").state == State.COMPLETED


def test_a_call_over_its_limit_takes_nothing_else_with_it(harness: WorkerHarness) -> None:
    recipe = harness.recipe(
        Step("main", call="hold:f", args={"size": "${matrix.size}", "seconds": "${matrix.s}"}), memory=LIMIT
    )
    sizes = [(1, 0.0), (1, 0.0), (150, 600.0), (1, 0.0), (1, 0.0)]
    work = [harness.make(recipe, binding={"size": size, "s": seconds}) for size, seconds in sizes]
    harness.give(*work)
    ends = [harness.end_of(one) for one in work]
    assert [end.cause for end in ends] == [None, None, Cause.OOM, None, None]
    check_evidence(ends[2])
    assert len({record.pid for record in harness.all(Started)}) == 2


def test_a_call_does_not_answer_for_what_earlier_ones_have_left(harness: WorkerHarness) -> None:
    """The process that calls share is replaced once that alone is more than the next one may hold."""
    step = Step("main", call="hold:f", args={"size": 60, "seconds": "${matrix.s}"})
    recipe = harness.recipe(step, memory=LIMIT)
    work = [harness.make(recipe, binding={"s": seconds}) for seconds in (0.0, 0.5, 0.5, 0.0)]
    harness.give(*work)
    ends = [harness.end_of(one) for one in work]
    assert [end.cause for end in ends] == [None] * 4
    assert len({end.result for end in ends}) > 1


def test_a_call_that_is_one_step_of_several_has_its_limit_too(harness: WorkerHarness) -> None:
    roomy = Step("free", call="hold:f", args={"size": 60})
    check_evidence(harness.run(roomy, Step("b", call="hold:f", args={"size": 120, "seconds": 600}), memory=LIMIT))
    end = harness.run(roomy, Step("b", run="python3 hold.py 60 0.6"), memory=LIMIT)
    assert end.state == State.COMPLETED


def test_what_a_call_starts_counts_with_it(harness: WorkerHarness, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    harness.module(
        "starts",
        "import subprocess, threading\n"
        "def run(path):\n"
        "    child = subprocess.Popen(['python3', 'hold.py', '150', '600'], start_new_session=True)\n"
        "    open(path, 'w').write(f'{child.pid}\\n')\n"
        "    child.wait()\n"
        "def f(path):\n"
        "    thread = threading.Thread(target=run, args=[path])\n"
        "    thread.start()\n"
        "    thread.join()\n",
    )
    check_evidence(harness.call("starts:f", {"path": str(pid_file)}, memory=LIMIT))
    pid = pid_in(pid_file)
    assert pid is not None
    assert not alive(pid)


@pytest.mark.parametrize("kind", ["command", "call"])
def test_subtasks_of_a_fan_out_have_one_limit_together(harness: WorkerHarness, kind: str) -> None:
    each = Each(items=(1, 2), parallel=2)
    alone = Each(items=(1, 2), parallel=1)
    command = "python3 hold.py 60 1.5"
    steps = [
        Step("main", run=command, each=one)
        if kind == "command"
        else Step("main", call="hold:f", args={"size": 60, "seconds": 1.5}, each=one)
        for one in (each, alone)
    ]
    check_evidence(harness.run(steps[0], memory=LIMIT))
    told = [end.cause for record in harness.all(Subtasks) for end in record.ended]
    assert told == [Cause.OOM] * 2
    if kind == "command":
        assert harness.run(steps[1], memory=LIMIT).state == State.COMPLETED


def test_a_neighbour_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    harness = WorkerHarness(tmp_path / "two", slots=2)
    harness.module("hold", HOLD)
    try:
        beside = harness.make(harness.recipe(Step("main", run="while ! [ -e go ]; do sleep 0.05; done"), memory=LIMIT))
        greedy = harness.make(harness.recipe(Step("main", run="python3 hold.py"), memory=LIMIT))
        harness.give(beside, worker=0)
        harness.give(greedy, worker=1)
        check_evidence(harness.end_of(greedy))
        (harness.project / "go").touch()
        assert harness.end_of(beside).state == State.COMPLETED
    finally:
        harness.close()


def test_the_cheap_sum_is_never_less_than_the_exact_one() -> None:
    kept = bytearray(b"x") * (20 * MIB)
    at_most, exactly = held_at_most(os.getpid()), held_exactly(os.getpid())
    assert 20 * MIB < exactly <= at_most + MIB
    assert held_at_most(2**22 + 1) == held_exactly(2**22 + 1) == 0
    del kept


# --- the kernel's own kills, where this process may make a cgroup


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A memory cgroup below this process's own that has little room; this process is in it meanwhile."""
    own = _own_group()
    if own is None:
        pytest.skip("no memory cgroup of this process that it may divide")
    made, here = own / f"rekindle-{os.getpid()}", own / "cgroup.procs"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a memory cgroup: {error}")
    try:
        (made / "memory.limit_in_bytes").write_text(str(300 * MIB))
        (made / "cgroup.procs").write_text(str(os.getpid()))
        yield made
    finally:
        here.write_text(str(os.getpid()))
        limit = time.monotonic() + 10
        while True:
            try:
                made.rmdir()
                break
            except OSError:
                assert time.monotonic() < limit
                time.sleep(0.05)


def _own_group() -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            found = Path("/sys/fs/cgroup/memory", path.lstrip("/"))
            return found if os.access(found / "cgroup.procs", os.W_OK) else None
    return None


@pytest.fixture
def crowded(small_group: Path, tmp_path: Path) -> Iterator[WorkerHarness]:
    """A harness whose worker is in that group, so that its commands and calls are."""
    assert small_group.exists()
    (tmp_path / "crowded").mkdir()
    harness = WorkerHarness(tmp_path / "crowded")
    (small_group.parent / "cgroup.procs").write_text(str(os.getpid()))  # the kernel may kill the largest process
    harness.module("hold", HOLD)
    yield harness
    harness.close()


@pytest.mark.parametrize("run", [("python3", "hold.py"), "python3 hold.py; exit $?"], ids=["itself", "by its shell"])
def test_a_command_that_the_kernel_kills_for_memory_is_told_from_one_that_somebody_kills(
    crowded: WorkerHarness, run: str | tuple[str, ...]
) -> None:
    end = crowded.command(run)
    assert (end.state, end.cause, end.signal) == (State.FAILED, Cause.OOM, 9)
    found = json.loads(end.evidence or "")
    assert found["oom_kills"] >= 1
    assert "memory.oom_control" in found["seen"]
    assert crowded.command(("sh", "-c", "kill -9 $$")).cause == Cause.SIGNAL
    assert crowded.command("sh -c 'kill -9 $$'; exit $?").cause == Cause.SIGNAL


def test_a_call_that_the_kernel_kills_for_memory_is_oom(crowded: WorkerHarness) -> None:
    assert crowded.call("hold:grow").cause == Cause.OOM
    end = crowded.run(Step("a", run="/bin/true"), Step("b", call="hold:grow"))
    assert (end.cause, end.steps[0].cause) == (Cause.OOM, Cause.OOM)
    crowded.module("gone", "import os\ndef f(): os.kill(os.getpid(), 9)\n")
    assert crowded.call("gone:f").cause == Cause.SIGNAL


def test_a_subtask_that_the_kernel_kills_for_memory_is_oom(crowded: WorkerHarness) -> None:
    each = Each(items=(1, 1000), parallel=2)
    end = crowded.run(Step("main", run="python3 hold.py ${item} 1", each=each))
    assert end.cause == Cause.SUBTASKS
    told = [one.cause for record in crowded.all(Subtasks) for one in record.ended]
    assert sorted(told, key=str) == [None, Cause.OOM]


def test_a_worker_that_the_kernel_kills_for_memory_takes_its_attempt_along_as_oom(crowded: WorkerHarness) -> None:
    """The command lets the kernel choose its worker."""
    script = f"while True:\n    kept = bytearray(b'x') * ({280 * MIB})\n"
    line = (
        "sh",
        "-c",
        f'echo -1000 > /proc/self/oom_score_adj; echo 1000 > /proc/$PPID/oom_score_adj; python3 -c "{script}"',
    )
    work = crowded.make(crowded.recipe(Step("main", run=line)))
    crowded.give(work)
    end = crowded.end_of(work)
    assert (end.state, end.cause, end.steps[0].cause) == (State.FAILED, Cause.OOM, Cause.OOM)
    assert json.loads(end.evidence or "")["oom_kills"] >= 1
    assert crowded.gone == [crowded.workers[0].name]
