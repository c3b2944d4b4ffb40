"""Damaged journals and stores: the damage is reported once, and only the attempts it may concern run again."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from test_killed import kill_tree

from project_folder import Project, until
from rekindle.journal.log import read_records
from rekindle.journal.records import Ended, Record, Started

CHAIN = """
name: chain
jobs:
  a: {run: "echo a >> ran.txt; until test -e gate-a; do sleep 0.02; done"}
  b: {needs: [a], run: "echo b >> ran.txt; until test -e gate-b; do sleep 0.02; done"}
  c: {needs: [b], run: "echo c >> ran.txt"}
"""

FREE = """
name: free
jobs:
  job: {matrix: {i: {range: [0, 60]}}, run: "echo ${job.name} >> ran.txt"}
"""


def journals(project: Project) -> list[Path]:
    return sorted((project.folder / ".rekindle" / "journal").glob("*.jsonl"))


def spoil(journal: Path, kind: type[Record]) -> None:
    """Overwrite part of the last record of a kind with bytes that are no text."""
    content = journal.read_bytes()
    offset, last = 0, -1
    for line in content.splitlines(keepends=True):
        if b'"type":"%b"' % kind.__struct_config__.tag.encode() in line:  # type: ignore[union-attr,arg-type]
            last = offset
        offset += len(line)
    assert last >= 0
    with journal.open("r+b") as file:
        file.seek(last + 20)
        file.write(b"\0\0\0\0\0\0\0\0")


def check_named_once(project: Project, said: str, journal: Path) -> None:
    assert said.count("warning:") == 1
    assert journal.name in said
    events = [one for one in project.ask("events", "list")["events"] if one["kind"] == "damaged"]
    assert len(events) == 1
    assert events[0]["detail"].keys() == {"journal", "byte", "length", "reason"}
    assert events[0]["detail"]["journal"].endswith(journal.name)
    assert "warning:" not in project.rekindle("work").stderr


def causes(project: Project, name: str) -> list[tuple[str, str | None]]:
    found = sorted((one for one in project.attempts(name)), key=lambda one: one["number"])
    return [(one["state"], one["cause"]) for one in found]


def paused(project: Project) -> tuple[psutil.Process, Path]:
    """Start a runner, stop it while job a runs, and return it with its worker's journal."""
    project.spec(CHAIN)
    with (project.folder / "stderr").open("wb") as errors:
        started = project.start("run", "spec.yaml", "-j", "1", stderr=errors)
    until(lambda: project.ran() == ["a"], "a runs")
    until(lambda: project.states()["a"] == "running", "that is known")
    runner = psutil.Process(started.pid)
    runner.send_signal(signal.SIGSTOP)
    (project.folder / "gate-a").touch()
    journal = journals(project)[0]
    until(lambda: any(isinstance(record, Ended) for record in read_records(journal)[0]), "a has ended")
    return runner, journal


def test_the_end_of_an_attempt_that_cannot_be_read_is_lost_and_it_runs_again(project: Project) -> None:
    runner, journal = paused(project)
    spoil(journal, Ended)
    (project.folder / "gate-b").touch()
    runner.send_signal(signal.SIGCONT)
    assert project.started[0].wait(timeout=60) == 0
    check_named_once(project, (project.folder / "stderr").read_text(), journal)
    assert causes(project, "a") == [("failed", "lost"), ("completed", None)]
    lost = next(one for one in project.attempts("a") if one["cause"] == "lost")
    shown = project.ask("attempts", "show", str(lost["id"]))
    assert "damaged" in str(shown)
    assert Counter(project.ran()) == {"a": 2, "b": 1, "c": 1}


def test_a_damaged_journal_of_a_runner_that_died_is_read_by_the_next(project: Project) -> None:
    _, journal = paused(project)
    kill_tree(project.started[0])
    spoil(journal, Ended)
    (project.folder / "gate-b").touch()
    said = project.rekindle("work").stderr
    check_named_once(project, said, journal)
    assert causes(project, "a") == [("failed", "lost"), ("completed", None)]
    assert Counter(project.ran()) == {"a": 2, "b": 1, "c": 1}


def test_a_start_that_cannot_be_read_counts_as_a_start(project: Project) -> None:
    _, journal = paused(project)
    kill_tree(project.started[0])
    spoil(journal, Started)
    spoil(journal, Ended)
    (project.folder / "gate-b").touch()
    project.rekindle("work")
    assert causes(project, "a") == [("failed", "lost"), ("completed", None)]


def test_foreign_text_in_a_journal_is_ignored(project: Project) -> None:
    runner, journal = paused(project)
    with journal.open("ab") as file:
        file.write(b"this is no record\n")
    (project.folder / "gate-b").touch()
    runner.send_signal(signal.SIGCONT)
    assert project.started[0].wait(timeout=60) == 0
    check_named_once(project, (project.folder / "stderr").read_text(), journal)
    assert Counter(project.ran()) == {"a": 1, "b": 1, "c": 1}


def test_a_journal_that_lost_lines_which_the_store_has_changes_nothing(project: Project) -> None:
    project.spec(FREE)
    runner = project.start("run", "spec.yaml", "-j", "2")
    until(lambda: len(project.ran()) >= 20, "some have run")
    until(lambda: len(project.jobs("-s", "completed")) >= 15, "that is stored")
    kill_tree(runner)
    completed = {job["id"] for job in project.jobs("-s", "completed").values()}
    for journal in journals(project):
        os.truncate(journal, journal.stat().st_size // 2)
    project.rekindle("work", "-j", "2")
    assert set(project.states().values()) == {"completed"}
    again = {one["job"] for one in project.attempts() if one["number"] > 1}
    assert not again & completed
    ran = Counter(project.ran())
    assert max(ran.values()) <= 2


def test_a_store_that_lost_records_ingests_them_again(project: Project) -> None:
    project.spec(CHAIN)
    runner = project.start("run", "spec.yaml", "-j", "1")
    until(lambda: project.ran() == ["a"], "a runs")
    until(lambda: project.states()["a"] == "running", "that is known")
    store = project.folder / ".rekindle"
    psutil.Process(runner.pid).send_signal(signal.SIGSTOP)  # it must not write
    before = {name: (store / name).read_bytes() for name in ("store.db", "store.db-wal")}
    psutil.Process(runner.pid).send_signal(signal.SIGCONT)
    (project.folder / "gate-a").touch()
    until(lambda: project.ran() == ["a", "b"], "b runs")
    kill_tree(runner)
    (store / "store.db-shm").unlink(missing_ok=True)
    for name, content in before.items():
        (store / name).write_bytes(content)
    assert project.states() == {"a": "running", "b": "waiting", "c": "waiting"}
    (project.folder / "gate-b").touch()
    project.rekindle("work")
    assert causes(project, "a") == [("completed", None)]
    assert Counter(project.ran()) == {"a": 1, "b": 2, "c": 1}  # the start of b was lost with the store's end


def test_full_durability_runs_and_a_word_that_is_none_is_refused(project: Project) -> None:
    project.spec(FREE)
    project.env["REKINDLE_DURABILITY"] = "full"
    project.rekindle("run", "spec.yaml", "-j", "2")
    assert set(project.states().values()) == {"completed"}
    project.env["REKINDLE_DURABILITY"] = "most"
    said = project.rekindle("status", expect=64).stderr
    assert "REKINDLE_DURABILITY is 'most'" in said
    assert "normal or full" in said


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_full_durability_has_each_start_on_the_disk_before_the_job_begins(project: Project) -> None:
    project.spec("name: one\njobs: {only: {run: [/bin/true]}}\n")
    project.env["REKINDLE_DURABILITY"] = "full"
    trace = project.folder / "trace"
    watched = ["-e", "trace=write,fdatasync,execve", "-s", "4096"]
    project.command = ["strace", "-f", "-o", str(trace), *watched, *project.command]
    project.rekindle("run", "spec.yaml", "-j", "1")
    lines = trace.read_text().splitlines()
    begun = next(at for at, line in enumerate(lines) if 'execve("/bin/true"' in line)
    told = next(at for at, line in enumerate(lines) if "write(" in line and "started" in line)
    worker = lines[told].split()[0]
    assert any(line.startswith(worker) and "fdatasync(" in line for line in lines[told:begun])
