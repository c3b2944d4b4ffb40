"""Blocks of current jobs are remembered, and measured again when anything that they were found from has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from assessments import check_assessments, small_blocks
from engine_project import Project, settle

from rekindle.engine.session import tentative
from rekindle.engine.staleness import assessments
from rekindle.store.archive import Snapshot

JOBS = 6
SPEC = """
name: blocks
params: {alpha: 1}
jobs:
  first:
    matrix: {i: {range: [0, 6]}}
    run: "cat ${inputs.own} > ${outputs.out}"
    inputs: {own: "in/${matrix.i}"}
    outputs: {out: "out/${matrix.i}"}
  second:
    matrix: {i: {range: [0, 6]}}
    inputs: {own: "out/${matrix.i}", maybe: {path: "maybe/${matrix.i}", optional: true}}
    run: "wc -c ${inputs.own} ${env.FLAVOUR}; true"
  third: {run: "ls ${inputs.all}", inputs: {all: "out/*"}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("blocks")
    for name in ("in", "out", "maybe"):
        (folder / name).mkdir()
    for number in range(JOBS):
        (folder / "in" / str(number)).write_text(f"{number}\n")
    with pytest.MonkeyPatch.context() as patching, small_blocks():
        patching.setenv("FLAVOUR", "plain")
        one = Project(folder)
        assert one.run(SPEC).exit_code == 0
        settle(*folder.glob("[a-z]*/*"))
        check_assessments(one.session)
        yield one
        one.session.close()


def measured(world: Project, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Assess, and return the jobs that were measured, not remembered."""
    jobs: set[int] = set()
    real = assessments.measure_attempts

    def measure(archive: Snapshot, attempts: dict[int, int], environment: dict[str, str]) -> object:
        jobs.update(attempts)
        return real(archive, attempts, environment)

    with monkeypatch.context() as patching:
        patching.setattr(assessments, "measure_attempts", measure)
        assessments.assess_workflow(world.session, 1)
    with world.session.store.read() as archive:
        return {job.name for job in archive.jobs.get(sorted(jobs))}


def test_nothing_is_measured_again_while_nothing_changes(world: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(world, monkeypatch) == set()


def edit(folder: Path) -> None:
    """Change the content of a file, and set its time of modification back."""
    path = folder / "in" / "0"
    before = path.stat()
    path.write_text("7\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], set[str]]] = {
    "content": (edit, lambda folder: (folder / "in" / "0").write_text("0\n"), {"first[i=0]", "first[i=1]"}),
    "a new file": (
        lambda folder: (folder / "maybe" / "1").write_text("1"),
        lambda folder: (folder / "maybe" / "1").unlink(),
        {"second[i=0]", "second[i=1]", "second[i=2]"},
    ),
    "a match of a pattern": (
        lambda folder: (folder / "out" / "7").write_text("1"),
        lambda folder: (folder / "out" / "7").unlink(),
        {"third"},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_where_it_matters_and_only_there(
    world: Project, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    change, undo, where = CHANGES[what]
    change(world.folder)
    found = measured(world, monkeypatch)
    assert where & found
    assert len(found) <= 4, "two blocks at most"
    check_assessments(world.session)
    undo(world.folder)
    settle(*world.folder.glob("[a-z]*/*"))
    check_assessments(world.session)


def test_another_value_of_a_variable_is_found(world: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patching:
        patching.setenv("FLAVOUR", "other")
        assert {f"second[i={number}]" for number in range(JOBS)} <= measured(world, monkeypatch)
        check_assessments(world.session)
    check_assessments(world.session)


def test_what_was_remembered_of_a_deleted_workflow_is_gone(world: Project) -> None:
    with tentative(world.session) as archive:
        archive.workflows.delete(1)
        assert list(archive.assessments.found(1)) == []
