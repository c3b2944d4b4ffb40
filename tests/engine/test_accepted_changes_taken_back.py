"""A change that was accepted and is then taken back: one `run` brings the workflow up to date, another does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rekindle.domain.selection import Selection
from rekindle.engine.queries import selections
from rekindle.engine.rerun.accept import accept
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.staleness.stale_jobs import find_stale_jobs
from rekindle.spec import load

if TYPE_CHECKING:
    from engine_project import Project

SPEC = """
name: s
params: {p: 1}
jobs:
  a: {run: "echo a >> ran; cat i > x; : ${params.p}", inputs: {i: i}, outputs: {x: x}, cache: KEPT}
  b: {run: "echo b >> ran; cat x > y", inputs: {x: x}, outputs: {y: y}}
"""
EDITS = {
    "an input": ("i", "1\n", "2\n"),
    "a command": ("spec.yaml", "cat i", "cat  i"),
    "a parameter": ("spec.yaml", "p: 1", "p: 2"),
    "an output": ("x", "1\n", "9\n"),
}


def run(project: Project) -> list[str]:
    """Do what `run` does, and return the jobs that ran."""
    ran = project.folder / "ran"
    ran.unlink(missing_ok=True)
    done, _ = apply_update(project.session, plan_update(project.session, load(project.folder / "spec.yaml")))
    report = work(project.session, WorkOptions(slots=1, workflow=str(done.workflow)))
    project.check()
    assert report.exit_code == 0
    return ran.read_text().split() if ran.exists() else []


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize("names", [("a",), ("a", "b")], ids=["one job", "all jobs"])
@pytest.mark.parametrize("kept", ["false", "true"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_run_after_an_accepted_change_was_taken_back_is_the_last_one(
    project: Project, edit: tuple[str, str, str], kept: str, names: tuple[str, ...]
) -> None:
    (project.folder / "i").write_text("1\n")
    (project.folder / "spec.yaml").write_text(SPEC.replace("KEPT", kept))
    assert run(project) == ["a", "b"]
    path = project.folder / edit[0]
    replace(path, *edit[1:])
    if path.suffix:
        project.submit(path.read_text())
    accept(project.session, selections.select(project.session, Selection(jobs=names)), {"jobs": names})
    replace(path, edit[2], edit[1])
    run(project)
    assert [(project.folder / name).read_text() for name in "xy"] == ["1\n", "1\n"]
    assert find_stale_jobs(project.session, [project.job(name) for name in "ab"]).stale == {}
    attempts = [len(project.attempts(name)) for name in "ab"]
    assert (run(project), [len(project.attempts(name)) for name in "ab"]) == ([], attempts)
