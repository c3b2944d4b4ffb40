"""Outputs that are kept and restored while processes are killed and the disk is full."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from disks import mounted

from project_folder import Project, until
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import documents

SPEC = """
name: sweep
params: {a: 1}
jobs:
  make:
    run: "echo ran >> ran.txt; mkdir -p out; for i in $(seq 400); do echo ${params.a} $i > out/$i; done"
    outputs: {out: out}
    cache: true
"""


def ran(project: Project) -> int:
    return len((project.folder / "ran.txt").read_text().split())


def contents(project: Project) -> list[str]:
    return [str(path.read_bytes()) for path in sorted((project.folder / "out").iterdir())]


def store_of(project: Project) -> ContentStore:
    return ContentStore(str(project.folder / ".rekindle"))


def test_a_worker_that_is_killed_while_it_keeps_outputs_loses_nothing(project: Project) -> None:
    project.spec(SPEC)
    runner = project.start("run", "spec.yaml")
    until(lambda: list(store_of(project).contents()), "outputs are being kept")
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)
    project.rekindle("work")
    assert project.states() == {"make": "completed"}
    assert list(documents(store_of(project)))
    project.rekindle("cache", "verify")
    project.rekindle("store", "check", "--deep")


def test_a_runner_that_is_killed_while_it_restores_outputs_loses_nothing(project: Project) -> None:
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml")
    wanted = contents(project)
    project.rekindle("run", "spec.yaml", "--param", "a=2", "--yes")
    assert contents(project) != wanted
    for _ in range(4):
        kill_while_it_restores(project)
    project.rekindle("run", "spec.yaml", "--yes")
    assert contents(project) == wanted
    assert ran(project) == 2
    assert drafts(project) == []


def kill_while_it_restores(project: Project) -> None:
    runner = project.start("run", "spec.yaml", "--yes")
    until(lambda: drafts(project) or runner.poll() is not None, "outputs are being restored")
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)


def drafts(project: Project) -> list[str]:
    return [path.name for path in project.folder.glob(".rekindle-*")]


def test_a_full_disk_fails_no_job_whose_outputs_are_kept(project: Project, tmp_path_factory: object) -> None:
    folder = Path(tmp_path_factory.mktemp("disk"))  # type: ignore[attr-defined]
    with mounted(folder / "mounted") as disk:
        project.env["REKINDLE_STORE"] = str(disk.folder / "store")
        project.spec(
            SPEC.replace('"echo ran', '"head -c 20000000 /dev/zero > large; echo ran').replace(
                "outputs: {out: out}", "outputs: {out: out, large: large}"
            )
        )
        done = project.rekindle("run", "spec.yaml")
        assert "its outputs are not in the cache: No space left on device" in done.stdout + done.stderr
        assert project.states() == {"make": "completed"}
        kinds = [one["kind"] for one in project.ask("events", "list")["events"]]
        assert "not_cached" in kinds
