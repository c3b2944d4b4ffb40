"""Resuming in a new folder, in a copy of the last folder, or in the same folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rekindle.domain.errors import PlanOutdated, PlanRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import logs
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.journal.paths import attempt_folder, progress_path, unfinished_copy

FIVE = """
    name: five
    workdir: attempt
    params: {home: "."}
    jobs:
      job:
        env: {HOME_: "${params.home}"}
        steps:
          - {name: s1, run: 'echo s1 >> $HOME_/ran; echo 1 > one; echo "{\\"n\\": 1}" > $REKINDLE_RESULT'}
          - {name: s2, run: "echo s2 >> $HOME_/ran; echo out of two"}
          - {name: s3, run: 'echo s3 >> $HOME_/ran; echo 3 > three; echo 33 > $REKINDLE_RESULT'}
          - name: s4
            run: >-
              echo s4 ${steps.s1.result.n} ${steps.s3.result} $(cat one three 2> /dev/null | tr -d '\\n') >> $HOME_/ran;
              echo four >> four; echo told by four; test -e $HOME_/fixed
          - {name: s5, run: "echo s5 ${steps.s1.result.n} >> $HOME_/ran; cat four > $HOME_/fours || true"}
"""


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def five(project):
    """A job of five steps that has failed in its fourth."""
    text = FIVE.replace('home: "."', f"home: {project.folder}")
    assert project.run(text).exit_code == 2
    assert ran(project) == ["s1", "s2", "s3", "s4 1 33 13"]
    return project


def ran(project):
    return (project.folder / "ran").read_text().splitlines()


def resume(project, workdir=None, start="failed-step"):
    return project.rerun("job", how=How(start, workdir=workdir))


@pytest.mark.parametrize("workdir", [None, "new", "copy", "same"])
def test_steps_that_are_kept_do_not_run_again_and_their_results_reach_the_next(five, workdir):
    (five.folder / "fixed").touch()
    applied = resume(five, workdir)
    assert applied.plan.jobs[0].next.take == (None if workdir == "new" else workdir or "copy")
    assert five.work().exit_code == 0
    files = "" if workdir == "new" else " 13"
    assert ran(five)[4:] == [f"s4 1 33{files}", "s5 1"]
    first, second = five.attempts("job")
    assert [step.kept_from for step in second.steps] == [first.id, first.id, first.id, None, None]
    assert (second.folder == first.folder) == (workdir == "same")
    fours = {"new": 1, "same": 2}.get(workdir, 2)
    assert len((five.folder / "fours").read_text().splitlines()) == fours
    if workdir != "same":  # a copy shares nothing: the archived attempt's folder is as it was
        assert (Path(first.folder) / "four").read_text() == "four\n"


def test_attempts_in_one_folder_keep_their_logs_apart(five):
    resume(five, "same")
    five.work()
    resume(five, "same")
    five.work()
    first, second, third = five.attempts("job")
    assert first.folder == second.folder == third.folder
    job = five.job("job")
    for number in (1, 2, 3):
        told = {log.step: log for log in logs.log_files(five.session, job, number) if log.stream == "stdout"}
        assert Path(told["s4"].path).read_text() == "told by four\n"
        assert Path(told["s2"].path).exists() == (number == 1)
    assert (Path(first.folder) / "four").read_text() == "four\n" * 3


@pytest.mark.parametrize("workdir", ["copy", "same"])
def test_a_folder_can_be_taken_from_the_beginning_too(five, workdir):
    (five.folder / "fixed").touch()
    resume(five, workdir, "beginning")
    assert five.work().exit_code == 0
    assert ran(five)[4:] == ["s1", "s2", "s3", "s4 1 33 13", "s5 1"]
    assert (five.folder / "fours").read_text() == "four\nfour\n"


def test_a_folder_that_is_gone_is_refused_in_the_plan(five):
    shutil.rmtree(five.attempts("job")[0].folder)
    for workdir in (None, "copy", "same"):
        with pytest.raises(PlanRefused, match=r"the folder of its attempt 1 is gone .*--workdir new"):
            resume(five, workdir)
    resume(five, "new")
    assert five.work().exit_code == 2


def test_a_folder_that_goes_after_the_plan_fails_the_attempt_at_its_start(five):
    for workdir in ("copy", "same"):
        five.rerun("job", how=How("s4", workdir=workdir))
        folder = Path(five.attempts("job")[0].folder)
        folder.rename(f"{folder}.away")
        assert five.work().exit_code == 2
        last = five.attempts("job")[-1]
        assert (last.state, last.cause) == (State.FAILED, "start")
        assert "folder" in last.failure.message
        Path(f"{folder}.away").rename(folder)
    resume(five, "copy")  # skips the two attempts without a folder
    five.work()
    assert ran(five)[-1] == "s4 1 33 13"


def test_a_project_folder_is_no_attempts_to_take(project):
    project.run("{name: p, jobs: {job: {run: 'false'}}}")
    for workdir in ("copy", "same"):
        with pytest.raises(PlanRefused, match="runs in the project's folder"):
            resume(project, workdir, "beginning")
    resume(project, "new", "beginning")


def test_an_empty_folder_is_kept_for_those_that_go_on_from_it(project):
    project.run(
        """
        name: empty
        workdir: attempt
        jobs: {job: {steps: [{name: a, run: "true"}, {name: b, run: "false"}]}}
        """
    )
    assert resume(project).plan.jobs[0].next.take == "copy"
    project.work()
    assert project.attempts("job")[-1].cause == "exit"


def test_a_call_goes_on_in_a_copy_too(project):
    (project.folder / "made.py").write_text(
        "from pathlib import Path\n"
        "def count():\n    file = Path('n')\n    n = int(file.read_text()) + 1 if file.exists() else 1\n"
        "    file.write_text(str(n))\n    return n\n"
    )
    project.run("{name: calls, workdir: attempt, jobs: {count: {call: 'made:count'}}}")
    for workdir in ("copy", "same", "new"):
        project.rerun("count", how=How(workdir=workdir))
        assert project.work().exit_code == 0
    assert [attempt.result for attempt in project.attempts("count")] == ["1", "2", "3", "1"]


def test_a_saved_plan_whose_folder_has_gone_is_outdated(five):
    job = five.job("job")
    proposal = rerun.plan(five.session, [([job], How("failed-step"))], {})
    shutil.rmtree(five.attempts("job")[0].folder)
    with pytest.raises(PlanOutdated, match="is gone"):
        rerun.apply(five.session, proposal)


def test_undo_takes_the_folder_back_too(five):
    resume(five, "same")
    rerun.undo(five.session)
    resume(five, "new")
    five.work()
    first, second = five.attempts("job")
    assert first.folder != second.folder


def big(project, megabytes=1500):
    """The failed attempt's folder, with too much in it to copy in an instant."""
    folder = Path(project.attempts("job")[0].folder)
    with (folder / "big").open("wb") as file:
        piece = os.urandom(1 << 20)
        for _ in range(megabytes):
            file.write(piece)
    return folder


@pytest.fixture
def slow_copy(monkeypatch, tmp_path_factory):
    """Make copying slow on any file system, by waiting before each piece."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "import os, time, fcntl\n"
        "copied = os.copy_file_range\n"
        "def slowly(*words):\n    time.sleep(0.5)\n    return copied(*words)\n"
        "os.copy_file_range = slowly\n"
        "def never(*words):\n    raise OSError(95, 'no clones')\n"
        "fcntl.ioctl = never\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


FULL_DISK = """
import os, fcntl
def full(*words):
    raise OSError(28, "No space left on device")
os.copy_file_range = fcntl.ioctl = full
"""


def copying(project, number=2):
    return Path(progress_path(attempt_folder(project.session.store.folder, number)))


def nothing_left(project, number=2):
    own = Path(attempt_folder(project.session.store.folder, number))
    return sorted(path.name for path in own.parent.glob(f"{own.name}*") if not path.name.endswith((".err", ".out")))


def test_a_cancel_during_the_copy_ends_it_and_leaves_no_half_folder(five, slow_copy):
    big(five, 200)
    resume(five)
    runner = threading.Thread(target=_work_elsewhere, args=(five.folder,))
    runner.start()
    until(lambda: copying(five).exists())
    control.cancel(five.session, [five.job("job")])
    runner.join(20)
    last = five.attempts("job")[-1]
    assert (last.state, last.cause) == (State.CANCELED, "canceled")
    assert [step.kept_from for step in last.steps] == [1, 1, 1]
    assert nothing_left(five) == []
    resume(five)
    assert five.attempts("job")[-1].archived_by is not None


def test_a_copy_counts_against_the_time_limit(five, slow_copy):
    from rekindle.domain.overrides import Overrides

    big(five, 200)
    five.rerun("job", how=How("failed-step", overrides=Overrides(time="1s")))
    assert five.work().exit_code == 2
    last = five.attempts("job")[-1]
    assert (last.state, last.cause) == (State.FAILED, "timeout")
    assert nothing_left(five) == []
    assert len(ran(five)) == 4


def test_a_copy_that_fails_fails_the_attempt_and_leaves_no_half_folder(five, monkeypatch, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(FULL_DISK)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    folder = Path(five.attempts("job")[0].folder)
    resume(five)
    own = attempt_folder(five.session.store.folder, 2)
    assert five.work().exit_code == 2
    last = five.attempts("job")[-1]
    assert (last.state, last.cause) == (State.FAILED, "start")
    assert last.failure.message == f"cannot copy the folder {folder}: No space left on device"
    assert not Path(own).exists()
    assert not Path(unfinished_copy(own, own, "")).exists()
    assert last.started is not None


@pytest.mark.parametrize("victim", ["worker", "runner and worker"])
def test_a_copy_whose_worker_is_killed_is_not_taken_for_whole(five, slow_copy, victim):
    big(five, 200)
    resume(five)
    code = "import sys\nfrom rekindle.cli.main import main\nsys.exit(main(['--store', sys.argv[1], 'work']))"
    runner = subprocess.Popen([sys.executable, "-c", code, five.session.store.folder], stderr=subprocess.DEVNULL)
    until(lambda: copying(five).exists())
    pids = [int(pid) for pid in Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()]
    if victim != "worker":
        runner.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    runner.wait(30)
    five.work()
    attempts = five.attempts("job")
    assert attempts[1].cause == "lost"
    assert nothing_left(five) == []
    if len(attempts) == 2:  # its runner was alive and left it to the user
        resume(five)
        five.work()
    last = five.attempts("job")[-1]
    assert last.cause == "exit"
    assert last.start_step == 3
    assert ran(five)[4:] == ["s4 1 33 13"]
    assert (Path(last.folder) / "big").stat().st_size == 200 << 20


def test_a_lost_attempt_is_resumed_where_it_was_killed(project):
    text = """
        name: lost
        workdir: attempt
        jobs:
          job:
            steps:
              - {name: a, run: "echo a >> HOME/ran; echo 1 > checkpoint; echo 7 > $REKINDLE_RESULT"}
              - {name: b, run: "echo b ${steps.a.result} $(cat checkpoint) >> HOME/ran; echo 2 > checkpoint; KILL"}
        """
    kill = "test -e HOME/fixed || { touch HOME/fixed; kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 60; }"
    project.submit(text.replace("KILL", kill).replace("HOME", str(project.folder)))
    code = "import sys\nfrom rekindle.cli.main import main\nsys.exit(main(['--store', sys.argv[1], 'work', '-j', '1']))"
    runner = subprocess.Popen([sys.executable, "-c", code, project.session.store.folder], stderr=subprocess.DEVNULL)
    assert runner.wait(30) == -signal.SIGKILL
    control.hold(project.session, [project.job("job")])  # recovery would otherwise start it from the beginning
    project.work()
    lost = project.attempts("job")[0]
    assert (lost.cause, [step.state for step in lost.steps][:1]) == ("lost", [State.COMPLETED])
    control.release(project.session, [project.job("job")])
    applied = resume(project)
    assert (applied.plan.jobs[0].start, applied.plan.jobs[0].keeps) == ("b", ("a",))
    assert project.work().exit_code == 0
    assert ran(project) == ["a", "b 7 1", "b 7 2"]


def _work_elsewhere(folder):
    with open_session(str(folder / ".rekindle")) as session:
        work(session, WorkOptions(slots=1))
