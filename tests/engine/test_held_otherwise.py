"""Holds with different reasons."""

from __future__ import annotations

from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import control

TWO = "name: two\njobs:\n  a: {run: 'true'}\n  b: {run: 'true'}\n"


def reasons(project):
    return [row.job.held for row in job_queries.jobs(project.session, [project.job("a"), project.job("b")])]


def test_a_hold_replaces_another_reason_only_with_instead(project):
    project.submit(TWO)
    ids = [project.job("a"), project.job("b")]
    control.hold(project.session, ids[:1], "first")
    assert control.hold(project.session, ids, "second").already == (ids[0],)
    assert reasons(project) == ["first", "second"]
    assert control.hold(project.session, ids, "second", instead=True).changed == (ids[0],)
    assert reasons(project) == ["second", "second"]
