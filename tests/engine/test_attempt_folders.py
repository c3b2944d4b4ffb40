"""Attempts that run in folders outside of the store: their own, or shared ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rekindle.domain.models import GivenFolder
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import logs
from rekindle.engine.submit.submit import delete_workflow

STEPS = """
    name: steps
    workdir: attempt
    jobs:
      job:
        matrix: {k: {range: [0, COUNT]}}
        outputs: {out: "made-${matrix.k}"}
        steps:
          - {name: one, run: 'pwd > made-${matrix.k}; echo "{\\"n\\": ${matrix.k}}" > $REKINDLE_RESULT; echo told'}
          - {name: two, run: 'cat made-${matrix.k}; echo ${steps.one.result.n} >> HOME/ran; test -e HOME/fixed'}
      plain: {workdir: project, run: "pwd > plain-ran"}
"""


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def own_places(folder):
    """A new folder for each attempt."""
    return lambda job, attempt, now: GivenFolder(str(folder / f"launch-{attempt}"))


def one_place(folder):
    """One folder for all attempts."""
    return lambda job, attempt, now: GivenFolder(str(folder), shared=True)


def submit(project, count=1):
    project.submit(STEPS.replace("COUNT", str(count)).replace("HOME", str(project.folder)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_attempt_works_in_the_folder_that_it_is_given(project, tmp_path):
    (tmp_path / "fixed").touch()
    there = tmp_path / "there"
    submit(project, 2)
    assert project.work(place=own_places(there)).exit_code == 0
    for k in range(2):
        [attempt] = project.attempts(f"job[k={k}]")
        assert attempt.folder == str(there / f"launch-{attempt.id}")
        assert names(Path(attempt.folder)) == [f"made-{k}"]
        told = {log.step: log for log in logs.log_files(project.session, attempt.job, 1) if log.stream == "stdout"}
        assert Path(told["two"].path).read_text() == f"{attempt.folder}\n"
    assert (tmp_path / "plain-ran").read_text() == f"{tmp_path}\n"  # it runs in the project folder


def test_several_work_in_one_folder_at_once_and_keep_their_results_apart(project, tmp_path):
    (tmp_path / "fixed").touch()
    there = tmp_path / "there"
    submit(project, 6)
    assert project.work(slots=3, place=one_place(there)).exit_code == 0
    assert sorted((tmp_path / "ran").read_text().split()) == list("012345")
    assert names(there) == [f"made-{k}" for k in range(6)]


@pytest.mark.parametrize("workdir", ["copy", "same"])
@pytest.mark.parametrize("place", [own_places, one_place])
def test_a_resumed_attempt_takes_the_folder_over(project, tmp_path, place, workdir):
    there = tmp_path / "there"
    submit(project)
    assert project.work(place=place(there)).exit_code == 2
    [first] = project.attempts("job[k=0]")
    (there / "beside").touch()
    project.rerun("job[k=0]", how=How("failed-step", workdir=workdir))
    (tmp_path / "fixed").touch()
    assert project.work(place=place(there)).exit_code == 0
    second = project.attempts("job[k=0]")[-1]
    apart = place is own_places and workdir == "copy"
    assert (second.folder == first.folder) is not apart
    assert (Path(second.folder) / "made-0").read_text() == f"{first.folder}\n"
    if apart:
        assert names(there) == ["beside", Path(first.folder).name, Path(second.folder).name]
    assert not list(there.parent.glob("**/*.part"))


def test_a_copy_is_not_put_among_other_files(project, tmp_path):
    submit(project)
    project.work()
    project.rerun("job[k=0]", how=How("failed-step", workdir="copy"))
    there = tmp_path / "there"
    there.mkdir()
    (there / "mine").touch()
    project.work(place=one_place(there))
    assert names(there) == ["mine"]
    second = project.attempts("job[k=0]")[-1]
    assert (Path(second.folder) / "made-0").exists()


def test_a_folder_that_cannot_be_made_fails_the_attempt_at_its_start(project, tmp_path):
    (tmp_path / "there").touch()
    submit(project)
    assert project.work(place=own_places(tmp_path / "there")).exit_code == 2
    [attempt] = project.attempts("job[k=0]")
    assert (attempt.state, attempt.cause) == (State.FAILED, "start")
    assert "launch-" in attempt.failure.message


def test_deleting_removes_folders_of_ones_own_and_no_others(project, tmp_path):
    (tmp_path / "fixed").touch()
    own, shared = tmp_path / "own", tmp_path / "shared"
    submit(project, 2)
    project.work(most=1, place=own_places(own))
    project.work(place=one_place(shared))
    [made] = names(own)
    (own / f"{made}.tar").touch()
    delete_workflow(project.session, 1, files=True)
    assert names(own) == [f"{made}.tar"]
    assert names(shared)


def test_leftovers_of_one_attempt_are_ended_and_its_peers_continue(project, tmp_path):
    project.submit(
        """
        name: naps
        workdir: attempt
        jobs:
          nap: {matrix: {k: [0, 1]}, run: "echo $$ > pid-${matrix.k}; while ! test -e go; do sleep 0.05; done"}
        """
    )
    there = tmp_path / "there"
    code = (
        "import sys\nfrom rekindle.domain.models import GivenFolder\nfrom rekindle.engine.results import WorkOptions\n"
        "from rekindle.engine.running.work import work\nfrom rekindle.engine.session import open_session\n"
        "with open_session(sys.argv[1]) as session:\n"
        "    work(session, WorkOptions(slots=2, place=lambda *_: GivenFolder(sys.argv[2], True)))\n"
    )
    runner = subprocess.Popen([sys.executable, "-c", code, project.session.store.folder, str(there)])
    until(lambda: all((there / f"pid-{k}").exists() and (there / f"pid-{k}").read_text() for k in range(2)))
    until(lambda: [project.states()[f"nap[k={k}]"] for k in range(2)] == [State.RUNNING] * 2)
    attempts = [project.attempts(f"nap[k={k}]")[0] for k in range(2)]
    with project.session.store.read() as archive:
        workers = {name: pid for name, _, pid, _, _ in archive.runners.journals(attempts[0].runner)}
    runner.kill()
    os.kill(workers[attempts[0].worker], signal.SIGKILL)  # one is lost with its processes; the other continues
    runner.wait()
    (there / "pid-0").unlink()
    (there / "go").touch()
    report = project.work(place=one_place(there))
    assert (report.exit_code, report.orphan_counts.lost) == (0, 1)
    assert len(project.attempts("nap[k=1]")) == 1
    assert len(project.attempts("nap[k=0]")) == 2


SLOW = """
import os, time, fcntl
def slowly(*words):
    time.sleep(600)
os.copy_file_range = slowly
def never(*words):
    raise OSError(95, "no clones")
fcntl.ioctl = never
"""


def test_a_copy_that_is_killed_leaves_no_half_folder_in_the_place(project, tmp_path, tmp_path_factory):
    submit(project)
    there = tmp_path / "there"
    project.work(place=own_places(there))
    [first] = project.attempts("job[k=0]")
    project.rerun("job[k=0]", how=How("failed-step", workdir="copy"))
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(SLOW)
    slow = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    code = (
        "import sys\nfrom rekindle.domain.models import GivenFolder\nfrom rekindle.engine.results import WorkOptions\n"
        "from rekindle.engine.running.work import work\nfrom rekindle.engine.session import open_session\n"
        "with open_session(sys.argv[1]) as session:\n"
        "    work(session, WorkOptions(slots=1, place=lambda *_: GivenFolder(sys.argv[2] + '/second')))\n"
    )
    command = [sys.executable, "-c", code, project.session.store.folder, str(there)]
    runner = subprocess.Popen(command, env=slow)
    until(lambda: list(there.glob("second.*.part/made-0")))
    second = project.attempts("job[k=0]")[-1]
    with project.session.store.read() as archive:
        workers = [pid for _, _, pid, _, _ in archive.runners.journals(second.runner)]
    for pid in (runner.pid, *workers):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    (tmp_path / "fixed").touch()
    assert project.work(place=own_places(there)).exit_code == 0
    last = project.attempts("job[k=0]")[-1]
    assert [path for path in names(there) if "part" in path or "second" in path] == []
    assert (Path(last.folder) / "made-0").read_text() == f"{first.folder}\n"
