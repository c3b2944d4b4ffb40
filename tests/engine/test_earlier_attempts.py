"""What a function can read about the attempt before its own."""

from __future__ import annotations

import json

from rekindle.engine.queries import job_queries

CALLS = """
def work(ctx):
    if ctx.before is None:
        raise ValueError("the first time")
    return ctx.before
"""


def test_an_attempt_is_told_how_the_one_before_it_ended(project):
    (project.folder / "calls_before.py").write_text(CALLS)
    assert project.run("name: a\njobs: {a: {call: 'calls_before:work'}}\n").exit_code == 2
    project.rerun("a")
    assert project.work(1).exit_code == 0
    project.rerun("a")
    assert project.work(1).exit_code == 0
    found = job_queries.attempts(project.session, [project.job("a")])
    told = [json.loads(attempt.steps[0].result) for attempt in found[1:]]
    assert [(one["attempt"], one["state"], one["cause"]) for one in told] == [
        (1, "failed", "exception"),
        (2, "completed", None),
    ]
    assert (told[0]["error"]["type"], told[0]["error"]["message"]) == ("ValueError", "the first time")
    assert told[1]["error"] is None
