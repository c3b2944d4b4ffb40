"""Ziggy's document on re-running a failed task, from top to bottom, on the sample pipeline of definition files in XML.

The document's lines are beside the commands. `rekindle work` and `--work` take the place of Ziggy's cluster.
"""

from __future__ import annotations

import os
import runpy
import subprocess

import pytest
from xml_sample import EXAMPLE, XmlPipeline
from ziggy_sample import until

PERMUTED = [f"tile-{number}.perm.png" for number in range(4)]
MENDED = '--set "throw exception subtask 0=false"'


class Reader:
    """Types commands in a shell, and looks at what has run since."""

    def __init__(self, sample: XmlPipeline) -> None:
        assert sample.rekindle("dialects", "install", "bin-rekindle").code == 0
        self.sample = sample
        path = f"{sample.folder / 'bin-rekindle'}{os.pathsep}{os.environ['PATH']}"
        self._env = {**os.environ, "PATH": path}

    def types(self, line: str, ends: int = 0) -> str:
        """Run a line; return what it prints."""
        done = subprocess.run(
            line, shell=True, cwd=self.sample.folder, env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == ends, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def status(self, task: int) -> str:
        """Return the status and the subtasks of a task: `COMPLETE 4/4`."""
        table = self.sample.console("display", "--task", str(task)).out.partition("Task Summary")[2].splitlines()
        return " ".join(table[4].split()[4:-1])

    def started(self, task: str) -> list[int]:
        """Return when each subtask of the task was started, in milliseconds."""
        folders = sorted((self.sample.folder / "task-data" / task).glob("st-*"))
        return [int(one.suffix[1:]) for folder in folders for one in folder.glob("SUBTASK_START.*")]


@pytest.fixture
def reader(delivered: XmlPipeline) -> Reader:
    return Reader(delivered)


def test_the_document_from_top_to_bottom(reader: Reader) -> None:
    # "we started all this by ordering subtask 0 in each permuter task to fail": a partial parameter set orders it
    overrides = "--definitions etc/ziggy-extra.d/pl-with-overrides.xml"
    started = reader.types(f'ziggy console start sample "Test 1" {overrides} --work', ends=2)
    assert "instance 1: 7 tasks" in started
    restarts_from_the_beginning(reader)
    resubmits(reader)
    resumes_the_current_step(reader)
    resumes_monitoring(reader)
    reader.types(f'ziggy console start sample "Test 3" {overrides} --work', ends=2)
    restarts_multiple_tasks(reader)
    reads_the_note_on_parameters(reader)


def restarts_from_the_beginning(reader: Reader) -> None:
    # "select your failed task or tasks, right click, and select Restart … a menu that offers several restart options"
    menu = reader.types("ziggy console display --task 2")
    offered = [line.split()[:2] for line in menu.partition("Restart Modes")[2].splitlines()[4:] if line]
    assert offered == [
        ["resume-monitoring", "no"],
        ["resubmit", "yes"],
        ["resume-current-step", "yes"],
        ["restart-from-beginning", "yes"],
    ]
    assert reader.status(2) == "ERROR - WAITING_TO_STORE 3/4 (1)"
    # Under "Restart from Beginning": "Go back, redo marshaling, then run the algorithm code"
    before = reader.started("1-2-permuter")
    reader.types("ziggy console restart --restartMode restart-from-beginning --task 2 --work", ends=2)
    # "this will also wipe out the information on which subtasks failed … have to re-run all the subtasks"
    after = reader.started("1-2-permuter")
    assert min(after) > max(before)
    assert reader.started("1-2-permuter.1") == before, "here the earlier task folder is kept as history"
    assert reader.status(2) == "ERROR - WAITING_TO_STORE 3/4 (1)"


def resubmits(reader: Reader) -> None:
    # Under "Resubmit": "the option you'll want to use if you've made a code change that will address the problem"
    program = reader.sample.folder / "bin" / "image_steps.py"
    code = program.read_text()
    program.write_text(code.replace('raise ValueError("exception in subtask 0, as ordered")', "pass"))
    before = reader.started("1-3-permuter")
    printed = reader.types("ziggy console restart --restartMode resubmit --task 3 --work")
    # "only the failed subtasks will be run! All the subtasks that ran successfully will be left alone."
    assert "3 permuter[set-2]: starts at process: 1 of its subtasks to run, 3 left alone" in printed
    after = reader.started("1-3-permuter")
    assert after[0] > max(before)
    assert after[1:] == before[1:]
    assert reader.status(3) == "COMPLETE 4/4"
    assert reader.sample.files("set-2/L1") == PERMUTED
    assert reader.sample.files("set-2/L3") == ["average.png"], "the nodes behind it have run"
    program.write_text(code)


def resumes_the_current_step(reader: Reader) -> None:
    # Under "Resume Current Step": "store the results from the 3 successful subtasks and abandon efforts to get
    # results from the failed one"
    assert reader.sample.files("set-1/L1") == []
    printed = reader.types("ziggy console restart --restartMode resume-current-step --task 2 --work")
    assert "2 permuter[set-1]: starts at store with 3 of 4 subtasks: 1 given up" in printed
    assert reader.status(2) == "COMPLETE 3/4 (1)"
    assert reader.sample.files("set-1/L1") == PERMUTED[1:], "the half image of subtask 0 is not stored"
    assert reader.sample.files("set-1/L3") == ["average.png"]
    assert "COMPLETED" in reader.types("ziggy console display --instance 1")


def resumes_monitoring(reader: Reader) -> None:
    # Under "Resume Monitoring": "it may happen that the monitoring subsystem will lose track of what's going on"
    reader.types('ziggy console start sample "Test 2" --param "execution pause seconds=1"')
    runner = reader.sample.in_the_background("work", "-j", "2")
    try:
        # The first subtasks of both tasks must be known to run: they are looked for in the table.
        until(
            lambda: reader.sample.console("display", "-i", "2", "-d", "full").out.count(" EXECUTING ") == 2,
            "both tasks run",
        )
    finally:
        runner.kill()
        runner.wait()
    # "you may see signs that execution is progressing, but the console doesn't show any updates"
    assert "nobody monitors the running tasks" in reader.types("ziggy console display --instance 2")
    # "the Resume Monitoring option tells the monitoring subsystem to try to reconnect with the running task"
    printed = reader.types("ziggy console restart --restartMode resume-monitoring --instance 2")
    assert "Restarting task(s) 8, 9 in instance 2 with restart mode Resume monitoring" in printed
    assert reader.status(8) == reader.status(9) == "COMPLETE 4/4"
    for task in ("2-8-permuter", "2-9-permuter"):
        assert len(reader.started(task)) == 4, "no subtask ran twice"
    assert len(reader.sample.ask("attempts", "list", "8")["attempts"]) == 1
    reader.types("rekindle work")
    assert "COMPLETED" in reader.types("ziggy console display --instance 2")


def restarts_multiple_tasks(reader: Reader) -> None:
    # "select all the failed tasks from the tasks menu …. You can select the restart mode for each task"
    modes = "--restartMode resubmit --task 14 --restartMode resume-current-step --task 15"
    printed = reader.types(f"ziggy console restart {modes}")
    assert "14 permuter[set-1]: starts at process: 1 of its subtasks to run, 3 left alone" in printed
    assert "15 permuter[set-2]: starts at store with 3 of 4 subtasks: 1 given up" in printed
    assert printed.count("\nrerun ") == 1, "one rerun, which one undo takes back"
    reader.types("rekindle undo")
    assert reader.status(14) == reader.status(15) == "ERROR - WAITING_TO_STORE 3/4 (1)"
    # "select the Restart all failed tasks menu item. In this case all tasks will use the same restart mode."
    printed = reader.types("ziggy console restart --restartMode resubmit --instance 3 --work", ends=2)
    assert "Restarting task(s) 14, 15 in instance 3 with restart mode Resubmit" in printed


def reads_the_note_on_parameters(reader: Reader) -> None:
    # "If we re-run the task, it will re-run with the same values for all parameters. … subtask 0 will fail again."
    assert reader.status(14) == reader.status(15) == "ERROR - WAITING_TO_STORE 3/4 (1)"
    # "re-run doesn't let you change the parameters": here it does, and the change is recorded
    reader.types(f"ziggy console restart --restartMode resubmit --instance 3 {MENDED} --work")
    assert reader.status(14) == reader.status(15) == "COMPLETE 4/4"
    assert reader.sample.live(14)["overrides"]["params"] == {"throw_exception_subtask_0": False}
    # "you'll need to change the parameters and … start a new pipeline instance"
    reader.types('ziggy console start sample "Test 4" --param "throw exception subtask 0=false" --work')
    assert reader.types("ziggy console display").count("COMPLETED") == 4
    for unit in ("set-1", "set-2"):
        assert reader.sample.files(f"{unit}/L1") == PERMUTED
        average = (reader.sample.folder / "datastore" / unit / "L3" / "average.png").read_bytes()
        assert average == computed_average(reader.sample, unit)


def computed_average(sample: XmlPipeline, unit: str) -> bytes:
    """Return the average image of a set, computed from the raw images in one go."""
    steps = runpy.run_path(str(EXAMPLE / "bin" / "image_steps.py"))
    images = []
    for number in range(4):
        raw = steps["read_image"](str(sample.folder / "datastore" / unit / "L0" / f"tile-{number}.png"))
        rows = [steps["_permute"](row, [1.0, 0.9, 0.8]) for row in raw]
        pixels = [[row[at : at + 3] for at in range(0, len(row), 3)] for row in rows]
        images += [[b"".join(reversed(row)) for row in pixels], rows[::-1]]
    mean = [bytes(sum(values) // 8 for values in zip(*rows, strict=True)) for rows in zip(*images, strict=True)]
    path = sample.folder / "computed.png"
    steps["write_image"](str(path), mean)
    return path.read_bytes()
