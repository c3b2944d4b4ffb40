"""Flakiness, from the records of attempts."""

from __future__ import annotations

import pytest

from rekindle.domain.batches.flakiness import PassHistory
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How
from rekindle.engine.queries.flaky_queries import flaky_jobs, pass_conditions

SPEC = """
name: tests
params: {{alpha: 1, beta: 1}}
jobs:
  up: {{run: "cp raw.txt up.txt", inputs: {{raw: raw.txt}}, outputs: {{u: up.txt}}}}
  test:
    needs: [up]
    priority: {priority}
    resources: {{memory: {memory}}}
    inputs: {{data: data.txt}}
    run: "test -e m$(printf ended) && : ${{params.alpha}} {word}"
"""


@pytest.fixture
def failed(project):
    """`test` has failed once."""
    (project.folder / "data.txt").write_text("1")
    (project.folder / "raw.txt").write_text("1")
    submit(project)
    assert project.work().exit_code == 2
    (project.folder / "mended").touch()
    return project


def submit(project, priority: int = 0, memory: str = "64M", word: str = "", beta: int = 1) -> None:
    text = SPEC.format(priority=priority, memory=memory, word=word)
    project.submit(text.replace("beta: 1", f"beta: {beta}"))


def came(project, *reruns: str, how: How | None = None) -> PassHistory:
    project.rerun(*(reruns or ("test",)), how=how)
    assert project.work().exit_code == 0
    job = project.job("test")
    found = pass_conditions(project.session, [job])[job]
    (told,) = flaky_jobs(project.session, [job], every=True)
    assert told.passed is found
    assert bool(flaky_jobs(project.session, [job])) == (found is PassHistory.FLAKY)
    return found


def test_nothing_that_is_recorded_has_changed(failed):
    assert came(failed) is PassHistory.FLAKY


def test_what_does_not_matter_has_changed(failed):
    submit(failed, priority=7, beta=5)
    assert came(failed) is PassHistory.FLAKY


def test_what_it_needs_has_run_again_and_came_to_the_same(failed):
    assert came(failed, "up") is PassHistory.FLAKY


@pytest.mark.parametrize(
    "change",
    [
        lambda project: submit(project, word="more"),
        lambda project: submit(project, memory="96M"),
        lambda project: (project.folder / "data.txt").write_text("22"),
    ],
)
def test_what_matters_has_changed(failed, change):
    change(failed)
    assert came(failed) is PassHistory.MODIFIED


def test_what_it_needs_came_to_something_else(failed):
    (failed.folder / "raw.txt").write_text("22")
    assert came(failed, "up") is PassHistory.MODIFIED


@pytest.mark.parametrize("asked", [Overrides({"alpha": 2}), Overrides(memory="x2")])
def test_a_rerun_has_modified_it(failed, asked):
    assert came(failed, how=How(overrides=asked)) is PassHistory.MODIFIED
    assert came(failed) is PassHistory.FLAKY, "as it had failed"


def test_jobs_that_have_not_run_are_left_out(project):
    project.submit("{name: s, jobs: {a: {run: x}}}")
    assert flaky_jobs(project.session, [project.job("a")], every=True) == []
    assert pass_conditions(project.session, [project.job("a")]) == {}


def test_ways_to_fail_and_hosts_are_told(failed):
    job = failed.job("test")
    came(failed)
    (told,) = flaky_jobs(failed.session, [job])
    (way,) = told.signatures
    assert (way.cause, way.count, way.newest) == ("exit", 1, 2)
    (on,) = told.hosts
    assert (on.passes, on.failures) == (1, 1)
    assert told.last is not None
    assert told.last_failure is not None
    assert told.last_failure < told.last
