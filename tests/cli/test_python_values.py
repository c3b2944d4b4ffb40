"""What the Python API returns: values with times, results and short texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from rekindle import Client, PlanRefused, RekindleError
from rekindle.presentation.batch_values import RerunDetails
from rekindle.presentation.comparison_values import AttemptDiff, WorkflowDiff
from rekindle.presentation.values import AttemptDetails, JobDetails, Value

SWEEP = """
name: wide
jobs:
  one: {matrix: {i: {range: [0, 5000]}}, run: "true"}
  all: {needs: ["one*"], run: "true"}
"""


def test_times_are_datetimes_in_utc_and_results_are_values(shell: Shell) -> None:
    shell.write("""
        name: w
        jobs:
          a: {run: 'echo ''{"loss": 0.5, "steps": [1, 2]}'' > $REKINDLE_RESULT'}
          b: {needs: a, run: "echo hello; echo ouch >&2; exit 3"}
        """)
    before = datetime.now(UTC)
    assert shell("run", "spec.yaml").code == 2
    with Client() as client:
        a, b = client.attempts()
        (job, _), (event, *_), status = client.jobs(), client.events(), client.status()[0]
        logs = client.logs("b")
    assert a.result == {"loss": 0.5, "steps": [1, 2]}
    for at in (a.started, a.ended, a.steps[0].started, job.started, event.at, status.submitted):
        assert at is not None
        assert at.utcoffset() == timedelta(0)
        assert before - timedelta(seconds=1) < at <= datetime.now(UTC)
    assert (b.state, b.cause, b.exit_code) == ("failed", "exit", 3)
    assert b.error is not None
    assert "ouch" in b.error.stderr
    assert [(log.stream, str(log)) for log in logs] == [("stdout", "hello\n"), ("stderr", "ouch\n")]


DETAILS: dict[str, tuple[Any, tuple[str, ...], type[Value]]] = {
    "job": (lambda c: c.jobs.show("left"), ("jobs", "show", "left"), JobDetails),
    "attempt": (lambda c: c.attempts.show(2), ("attempts", "show", "2"), AttemptDetails),
    "attempts": (lambda c: c.attempts.diff(1, 2), ("attempts", "diff", "1", "2"), AttemptDiff),
    "diff": (lambda c: c.workflows.diff("diamond"), ("workflows", "diff", "diamond"), WorkflowDiff),
}


@pytest.mark.parametrize("name", DETAILS)
def test_what_is_shown_has_what_the_command_prints(name: str, still: Shell) -> None:
    call, command, kind = DETAILS[name]
    with Client() as client:
        found = call(client)
    wanted = still(*command, "--json").json
    assert isinstance(found, kind)
    assert {key: value for key, value in found.to_dict().items() if key in wanted} == wanted
    assert found.to_dict().keys() - wanted.keys() <= {"retry"}


@pytest.mark.parametrize(
    "command", [("why", "--all"), ("events", "list"), ("workflows", "list"), ("flaky", "--all-jobs")]
)
def test_lists_have_what_the_command_prints(command: tuple[str, ...], still: Shell) -> None:
    calls: dict[str, Any] = {
        "why": lambda c: c.why(c.selection(all=True)),
        "events": lambda c: c.events(),
        "workflows": lambda c: c.workflows.list(),
        "flaky": lambda c: c.flaky(every=True),
    }
    with Client() as client:
        found = [one.to_dict() for one in calls[command[0]](client)]
    (wanted,) = still(*command, "--json").json.values()
    assert found == wanted


def test_the_plan_of_a_wide_workflow_has_a_short_repr_and_the_text_of_the_command(shell: Shell) -> None:
    shell.write(SWEEP)
    assert shell("submit", "spec.yaml").code == 0
    with Client() as client:
        client.hold(client.select("one*"))
        with pytest.raises(PlanRefused) as refused:  # they have not run
            client.plan_rerun(client.selection("one*"))
        assert len(str(refused.value)) < 500
        planned = client.plan_restart("wide")
        for value in (client.jobs(), client.status(), client.selection(all=True), planned):
            assert len(repr(value)) < 1_500
        client.release(client.select("one*"))
        client.cancel(client.select("one*"))
        plan = client.plan_rerun(client.selection("one*"))
        assert len(repr(plan)) < 500
        assert "5,000 selected" in repr(plan)
        printed = shell("rerun", "-n", "one*", "--dry-run").out
        assert str(plan) == printed.removesuffix("\na dry run: nothing is changed\n")
        assert len(repr(client.apply(plan))) < 500


def test_a_rerun_is_planned_saved_applied_shown_and_undone(diamond: Shell, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with Client() as client:
        client.plans.save(client.plan_rerun(client.selection(state="failed"), note="again"), path)
        applied = client.apply(client.plans.load(path))
        shown = client.reruns.show(applied.rerun)
        assert isinstance(shown, RerunDetails)
        assert [job.name for job in shown.plan.jobs] == ["left", "bottom"]
        assert (client.reruns.list()[0].rerun, shown.jobs) == (applied.rerun, 2)
        assert repr(client.undo()) == f"UndoneRerun(rerun={applied.rerun}, jobs=<2>)"
        assert client.reruns.list()[0].undone is not None


def test_workflows_are_run_archived_reported_and_deleted(shell: Shell, tmp_path: Path) -> None:
    shell.write("name: w\nparams: {word: hello}\njobs:\n  a: {run: [echo, '${params.word}']}\n")
    with Client(tmp_path / "store") as client:
        assert client.run(Path("spec.yaml"), jobs=1, word="bye").exit_code == 0
        assert [log.text for log in client.logs("a")] == ["bye\n"]
        assert "".join(client.logs.follow("a")) == "bye\n"
        assert client.workflows.show("w").templates[0]["name"] == "a"
        assert client.workflows.report("w", tmp_path / "w.html").read_text().startswith("<!doctype html>")
        client.workflows.archive("w")
        assert [one.name for one in client.workflows.list()] == []
        assert [one.archived for one in client.workflows.list(archived=True)] == [True]
        client.workflows.archive("w", undo=True)
        client.workflows.delete("w", files=True)
        assert client.workflows.list(archived=True) == []


def test_stores_are_checked_and_copied_and_tokens_made(diamond: Shell, tmp_path: Path) -> None:
    with Client() as client:
        checked = client.store.check(deep=True)
        assert (checked.sound, checked.problems) == (True, [])
        secret = client.tokens.new(["read", "rerun"], "me")
        (token,) = client.tokens.list()
        assert (token.scopes, token.name, token.revoked) == (["read", "rerun"], "me", None)
        assert secret not in repr(token)
        client.tokens.revoke(token.id)
        assert client.tokens.list()[0].revoked is not None
        client.store.copy(tmp_path / "copy")
        names = [job.name for job in client.jobs()]
    with Client(tmp_path / "copy", create=False) as copy:
        assert [job.name for job in copy.jobs()] == names
    with pytest.raises(RekindleError, match="no store"):
        Client(tmp_path / "nowhere", create=False)
