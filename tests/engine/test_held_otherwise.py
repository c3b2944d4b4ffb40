"""Holds for one reason or another."""

from __future__ import annotations

from rekindle.engine.looking import look
from rekindle.engine.rerunning import control

TWO = "name: two\njobs:\n  a: {run: 'true'}\n  b: {run: 'true'}\n"


def reasons(project):
    return [row.job.held for row in look.jobs(project.session, [project.job("a"), project.job("b")])]


def test_what_is_held_for_another_reason_is_held_for_this_one_only_where_that_is_asked_for(project):
    project.submit(TWO)
    ids = [project.job("a"), project.job("b")]
    control.hold(project.session, ids[:1], "first")
    assert control.hold(project.session, ids, "second").already == (ids[0],)
    assert reasons(project) == ["first", "second"]
    assert control.hold(project.session, ids, "second", instead=True).changed == (ids[0],)
    assert reasons(project) == ["second", "second"]
