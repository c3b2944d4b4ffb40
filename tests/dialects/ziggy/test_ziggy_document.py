"""Ziggy's document on re-running a failed task, from top to bottom, with its lines beside the commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from ziggy_sample import IMAGES, SETS, SPEC, CommandResult, Pipeline

pytestmark = pytest.mark.soak
"""`make test` follows the document with XML definitions: see test_ziggy_rerun_document.py."""

GOOD = ["image-1", "image-2", "image-3"]
EVERY = [f"image-{number}" for number in range(IMAGES)]


class Document:
    """The sample, and Ziggy's console in a shell."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        assert pipeline.rekindle("dialects", "install", "bin").code == 0
        self._env = {**os.environ, "PATH": f"{pipeline.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, words: str, expect: int = 0) -> CommandResult:
        """Run `ziggy console …` and check its exit code."""
        done = subprocess.run(
            ["bash", "-c", f"ziggy console {words}"],
            cwd=self.pipeline.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, (words, done.stdout, done.stderr)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def work(self) -> list[str]:
        """Run the tasks that are ready, and return what their steps did."""
        self.pipeline.rekindle("work", "-j", "2")
        return self.pipeline.ran()

    def tasks(self, instance: int) -> str:
        """Return the tables of an instance, with single spaces between the columns."""
        return re.sub(" +", " ", self(f"display --instance {instance} --displayType full").out)


@pytest.fixture
def document(pipeline: Pipeline) -> Document:
    """The sample after "we [...] order[ed] subtask 0 in each permuter task to fail": tasks 1 and 2 of instance 1."""
    document = Document(pipeline)
    document('start sample "Test 1"')
    document.work()
    return document


def permuter_of(ran: list[str], unit: str = "set-1") -> list[str]:
    return [line.removeprefix(f"permuter {unit} ") for line in ran if line.startswith(f"permuter {unit} ")]


def test_the_document_from_top_to_bottom(document: Document) -> None:
    folder = document.pipeline.folder
    # "it failed": 3 of the 4 subtasks of each task were successful
    assert document.tasks(1).count("ERROR - WAITING_TO_STORE 3/4 (1)") == 2
    # "If you right-click on the Restart Mode field, you'll get a menu that offers several restart options."
    menu = document("display --task 1").out
    assert all(mode in menu for mode in ("restart-from-beginning", "resubmit", "resume-current-step"))

    # "Restart from Beginning": "redo marshaling, then run the algorithm code", "re-run all the subtasks"
    document("restart --restartMode RESTART_FROM_BEGINNING --task 1")
    assert permuter_of(document.work()) == ["marshal", "st-0", "st-1", "st-2", "st-3"]

    # "Resubmit": "resumes execution immediately after marshaling", "only the failed subtasks will be run!"
    document("restart --restartMode RESUBMIT --task 1")
    assert permuter_of(document.work()) == ["st-0"]
    # "If we re-run the task, it will re-run with the same values for all parameters [...] subtask 0 will fail again."
    assert document.tasks(1).count("ERROR - WAITING_TO_STORE 3/4 (1)") == 2

    # "Resume Current Step": "store the results from the 3 successful subtasks and abandon [...] the failed one"
    document("restart --restartMode RESUME_CURRENT_STEP --task 1")
    assert permuter_of(document.work()) == ["store"]
    assert document.pipeline.stored("permuter", "set-1") == GOOD
    assert " COMPLETE 3/4 (1)" in document.tasks(1)
    # The nodes behind it run on the 3 results.
    assert document.pipeline.stored("flip", "set-1") == GOOD

    # "Restarting Multiple Tasks": "You can select the restart mode for each task you restart this way."
    modes = "--restartMode resubmit --task 1 --restartMode resume-current-step --task 2"
    document(f"restart {modes}")
    ran = document.work()
    assert (permuter_of(ran), permuter_of(ran, "set-2")) == (["st-0"], ["store"])
    # "select the instance [...] Restart all failed tasks": "all tasks will use the same restart mode"
    document("restart --restartMode RESUME_CURRENT_STEP --instance 1")
    assert permuter_of(document.work()) == ["store"]
    assert (folder / "datastore" / "average.ppm").exists()
    assert "COMPLETED" in document("display").out


def test_the_closing_note_of_the_document(document: Document) -> None:
    # "re-run doesn't let you change the parameters": here it does, and records the change
    document("restart --restartMode RESUBMIT --task 1 --set throw_exception_subtask_0=false")
    document.work()
    assert document.pipeline.stored("permuter", "set-1") == EVERY
    assert document.pipeline.live(1)["modified"]
    assert "ERROR - WAITING_TO_STORE 3/4 (1)" in document.tasks(1), "the other task keeps its values"
    # "change the parameters and use the triggers panel to start a new pipeline instance"
    document('start sample "Test 2" --param throw_exception_subtask_0=false')
    document.work()
    assert document.tasks(2).count(" COMPLETE 4/4") == 2 * len(SETS)
    assert "COMPLETED" in document("display --instance 2").out


@pytest.fixture
def unmonitored(pipeline: Pipeline) -> Iterator[Document]:
    """A permuter task whose runner was killed, and that runs until the file `go` is there."""
    waits = SPEC.replace('"python3 steps.py permuter ', '"touch at; sh wait.sh && python3 steps.py permuter ')
    (pipeline.folder / "sample.yaml").write_text(waits.replace("subtask_0: true", "subtask_0: false"))
    (pipeline.folder / "wait.sh").write_text("while ! test -e go; do sleep 0.02; done\n")
    document = Document(pipeline)
    document('start sample "Test 3"')
    runner = pipeline.in_the_background("work", "-j", "1")
    try:
        until((pipeline.folder / "at").exists)
        until(lambda: " EXECUTING" in document.tasks(1))
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    try:
        yield document
    finally:
        (pipeline.folder / "go").touch()


def test_the_monitoring_of_the_document(unmonitored: Document) -> None:
    document = unmonitored
    # "the monitoring subsystem will lose track of what's going on with one or more tasks"
    shown = document("display --instance 1")
    assert "nobody monitors the running tasks" in shown.err
    # "the Resume Monitoring option tells the monitoring subsystem to try to reconnect with the running task"
    result = document("restart --restartMode RESUME_MONITORING --task 1 --detach").out
    assert "1 permuter[set-1]: runs on" in result
    (document.pipeline.folder / "go").touch()
    assert permuter_of(document.work()) == ["marshal", "st-0", "st-1", "st-2", "st-3", "store"], "nothing runs twice"
    assert "COMPLETED" in document("display --instance 1").out


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
