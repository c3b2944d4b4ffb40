"""The documents of `presentation.answers`, which the HTTP API returns, are those that the commands print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from cli_shell import Shell

from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.engine.rerun import rerun
from rekindle.engine.results import PageRequest
from rekindle.engine.session import Session, open_session
from rekindle.presentation import answers, batch_documents
from rekindle.query.job_keys import parse_job_words
from rekindle.query.selections import SelectionFlags, parse_selection

ALL, SECOND = PageRequest(), PageRequest(limit=1, offset=1)
EVERY = parse_selection(SelectionFlags(everything=True))
FAILED = parse_selection(SelectionFlags(states=("failed",)))

Answer = Callable[[Session], dict[str, Any]]

ANSWERS: dict[str, Answer] = {
    "status": lambda session: answers.status(session, None, ALL),
    "status -w diamond --offset 1": lambda session: answers.status(session, "diamond", PageRequest(offset=1)),
    "workflows list": lambda session: answers.workflows_list(session, ALL),
    "workflows show diamond": lambda session: answers.workflows_show(session, "diamond"),
    "workflows diff diamond": lambda session: answers.workflows_diff(session, "diamond"),
    "jobs list": lambda session: answers.jobs_list(session, Selection(), ALL),
    "jobs list -s failed": lambda session: answers.jobs_list(session, FAILED, ALL),
    "jobs list --limit 1 --offset 1": lambda session: answers.jobs_list(session, Selection(), SECOND),
    "jobs show left": lambda session: answers.jobs_show(session, [2]),
    "jobs show '*t*'": lambda session: answers.jobs_show(session, [1, 2, 3, 4]),
    "attempts list": lambda session: answers.attempts_list(session, Selection(), ALL),
    "attempts list --live --limit 1 --offset 1": lambda session: answers.attempts_list(
        session, Selection(), SECOND, live=True
    ),
    "attempts show 2": lambda session: answers.attempts_show(session, 2, ALL),
    "attempts diff 1 2": lambda session: answers.attempts_diff(session, 1, 2),
    "failures": lambda session: answers.failures(session, None, ALL),
    "failures --archived": lambda session: answers.failures(session, None, ALL, archived=True),
    "flaky --all --all-jobs": lambda session: answers.flaky(session, EVERY, ALL, every=True),
    "flaky --all": lambda session: answers.flaky(session, EVERY, ALL),
    "reruns list": lambda session: answers.reruns_list(session, None, ALL),
    "events list --limit 1 --offset 1": lambda session: answers.events_list(session, None, SECOND),
    "why --all": lambda session: answers.why(session, EVERY, ALL),
    "why --all --limit 1 --offset 1": lambda session: answers.why(session, EVERY, SECOND),
}


def answered(answer: Answer) -> Any:
    """The answer of the store in the working directory, after a way through JSON."""
    with open_session() as session:
        return json.loads(json.dumps(answer(session)))


@pytest.mark.parametrize("words", ANSWERS)
def test_an_answer_is_what_the_command_prints(words: str, still: Shell) -> None:
    assert answered(ANSWERS[words]) == still(*shlex.split(words), "--json").json


def test_a_plan_and_an_applied_rerun_are_answered_as_the_commands_print_them(diamond: Shell) -> None:
    def planned(session: Session) -> dict[str, Any]:
        return batch_documents.planned_rerun(rerun.plan(session, [(FAILED, How())], {}, canary=1))

    assert answered(planned) == diamond("rerun", "-s", "failed", "--canary", "1", "--dry-run", "--json").json
    assert diamond("rerun", "-s", "failed", "--canary", "1", "--note", "again", "--yes").code == 0
    for words, answer in (
        ("reruns list", lambda session: answers.reruns_list(session, None, ALL)),
        ("reruns show 1", lambda session: answers.reruns_show(session, 1)),
        ("jobs show left", lambda session: answers.jobs_show(session, [2])),
        ("why left", lambda session: answers.why(session, Selection(jobs=parse_job_words(["left"])), ALL)),
    ):
        assert answered(answer) == diamond(*words.split(), "--json").json


def test_the_spec_file_and_two_revisions_are_compared_as_the_command_does(diamond: Shell) -> None:
    spec = diamond.folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("echo prepared", "echo ready"))
    for revisions in ((), (1,)):
        words = ["workflows", "diff", "diamond", *map(str, revisions)]
        found = answered(lambda session, of=revisions: answers.workflows_diff(session, "diamond", of))
        assert found == diamond(*words, "--json").json
        assert found["unchanged"] is bool(revisions)
    assert diamond("submit", "spec.yaml").code == 0
    found = answered(lambda session: answers.workflows_diff(session, "diamond", (1, 2)))
    assert found == diamond("workflows", "diff", "diamond", "1", "2", "--json").json
    assert found["changed"] == ["left"]
