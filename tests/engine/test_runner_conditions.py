"""Runners that claim only some jobs, or a limited number."""

from __future__ import annotations

import json

import pytest

from rekindle.domain.errors import BadSelection, NotFound
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import State
from rekindle.engine.queries.selections import selection_condition

NINE = """
    name: nine
    jobs:
      a: {matrix: {k: {range: [0, 3]}}, run: "true"}
      b: {matrix: {k: {range: [0, 3]}}, needs: ["a*"], run: "true", priority: 5}
      c: {matrix: {k: {range: [0, 3]}}, run: "true", resources: {cpus: 0.5}}
"""


def done(project):
    return sorted(name for name, state in project.states().items() if state is State.COMPLETED)


def test_only_matching_jobs_run(project):
    project.submit(NINE)
    report = project.work(only=Compare("matrix.k", Op.LT, 2))
    assert (report.exit_code, report.completed) == (0, 4)
    assert done(project) == ["a[k=0]", "a[k=1]", "c[k=0]", "c[k=1]"]
    assert project.work(only=Compare("name", Op.GLOB, "a*")).completed == 1
    assert project.work(only=Compare("name", Op.GLOB, "[bc]*")).completed == 0  # brackets match literally
    assert project.work().completed == 4


def test_jobs_that_are_added_meanwhile_are_claimed_where_the_condition_holds(project):
    added = [{"name": name, "run": "true"} for name in ("mine-1", "other")]
    (project.folder / "act").write_text(json.dumps({"add": added}))
    project.submit("{name: grows, jobs: {mine: {run: 'cp act $REKINDLE_ACTION'}}}")
    assert project.work(only=selection_condition(project.session, Selection(jobs=("mine*",)))).completed == 2
    assert done(project) == ["mine", "mine-1"]
    assert project.states()["other"] is State.READY


def test_it_starts_at_most_the_given_number_of_attempts(project):
    project.submit(NINE)
    assert project.work(slots=4, most=1).completed == 1
    assert project.work(slots=2, most=4).completed == 4
    assert project.work(slots=2, most=9).completed == 4


def test_attempts_that_run_again_by_themselves_count(project):
    project.submit("{name: f, jobs: {job: {run: 'false', retry: {max: 5, on: [exit]}}}}")
    project.work(most=2)
    assert len(project.attempts("job")) == 2
    assert project.states()["job"] is State.READY


def test_an_impossible_condition_is_refused_before_the_run(project):
    project.submit(NINE)
    with pytest.raises(BadSelection, match="colour"):
        project.work(only=Compare("colour", Op.EQ, "red"))
    assert done(project) == []
    with project.session.store.read() as archive:
        assert archive.runners.alive() == []


def test_a_named_job_must_be_there_and_a_pattern_need_not(project):
    project.submit(NINE)
    with pytest.raises(NotFound, match="zeta"):
        selection_condition(project.session, Selection(jobs=("a[k=0]", "zeta")))
    both = selection_condition(
        project.session, Selection(jobs=("a[k=0]", "c*", "zeta*"), where=Compare("matrix.k", Op.EQ, 0))
    )
    assert project.work(only=both).completed == 2
    assert done(project) == ["a[k=0]", "c[k=0]"]
    assert selection_condition(project.session, Selection(workflow="nine")) is None


def test_attempts_keep_the_name_of_their_runner(project):
    project.submit("{name: one, jobs: {job: {run: 'true'}}}")
    project.work(label="big machine")
    [attempt] = project.attempts("job")
    with project.session.store.read() as archive:
        assert archive.runners.find(attempt.runner).label == "big machine"


def test_a_runner_that_does_not_linger_leaves_delayed_jobs(project):
    project.submit("{name: f, jobs: {job: {run: 'false', retry: {max: 5, delay: 1h, on: [exit]}}}}")
    assert project.work(linger=False).exit_code == 0
    assert len(project.attempts("job")) == 1
