"""`restart`, `reset` and `accept`: output, questions, changes and exit codes."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """\
name: pipe
jobs:
  cut: {run: "cp ${inputs.raw} ${outputs.o}", inputs: {raw: raw}, outputs: {o: cut.txt}}
  fit: {needs: [cut], run: "cat cut.txt > ${outputs.o}; test -e ok", outputs: {o: fit.txt}}
  kill: {needs: [cut], run: "test -e ok || kill -9 $$"}
  last: {needs: [fit, kill], run: "true"}
"""


@pytest.fixture
@made_once
def pipe(shell: Shell) -> Shell:
    """`fit` has failed by itself, `kill` was killed, `last` waits for both."""
    shell.write(SPEC)
    shell.write("1\n", "raw")
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    return shell


def states(shell: Shell) -> dict[str, str]:
    jobs = shell("jobs", "list", "-w", "pipe", "--json").json["jobs"]
    return {job["name"]: f"{job['state']}{' held' if job['held'] else ''}" for job in jobs}


STOOD = {"cut": "completed", "fit": "failed", "kill": "failed", "last": "waiting"}


def test_a_restart_shows_what_it_would_do_and_what_stays(pipe: Shell) -> None:
    done = pipe("restart", "--dry-run")
    assert done.code == 0
    assert "selected (signal)" in done.out
    assert "failed by itself: `fit`, which stays so" in done.out
    assert done.out.endswith("a dry run: nothing is changed\n")
    document = pipe("restart", "--dry-run", "--json").json
    assert (document["rerun"], [job["name"] for job in document["jobs"]]) == (None, ["kill", "last"])
    assert document["stays"] == [{"id": 2, "name": "fit"}]
    assert document["running"] == []
    assert states(pipe) == STOOD


def test_a_restart_asks_unless_told_not_to(pipe: Shell) -> None:
    done = pipe("restart")
    assert (done.code, "--yes" in done.err) == (1, True)
    assert states(pipe) == STOOD
    done = pipe("restart", "--yes", "--note", "the node died")
    assert "rerun 1 is applied: 1 ready; no runner is alive: rekindle work" in done.out
    assert states(pipe) == {**STOOD, "kill": "ready"}
    (listed,) = pipe("reruns", "list", "--json").json["reruns"]
    assert (listed["kind"], listed["note"], listed["jobs"]) == ("restart", "the node died", 2)
    assert "workflow pipe" in pipe("reruns", "list").out
    assert pipe("undo").code == 0
    assert states(pipe) == STOOD


def test_a_restart_works_at_once_where_that_is_asked_for(pipe: Shell) -> None:
    pipe.write("", "ok")
    assert pipe("restart", "pipe", "--yes", "--work", "-j", "2").code == 0
    assert states(pipe)["kill"] == "completed"
    done = pipe("restart")
    assert (done.code, "nothing to restart" in done.out) == (0, True)
    nothing = pipe("restart", "--json")
    assert (nothing.code, nothing.json["jobs"], nothing.json["stays"][0]["name"]) == (0, [], "fit")
    assert len(pipe("reruns", "list", "--json").json["reruns"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nobody"], 1, "no such workflow: nobody"),
        (["pipe", "-w", "other"], 64, "name one workflow"),
        (["-j", "2"], 64, "-j needs --work"),
        (["--only-uninitialised"], 64, "--only-uninitialized"),
    ],
)
def test_a_restart_that_is_asked_for_wrongly_does_nothing(pipe: Shell, words: list[str], code: int, said: str) -> None:
    done = pipe("restart", "--yes", *words)
    assert (done.code, said in done.err, done.out) == (code, True, "")
    assert states(pipe) == STOOD


def test_a_restart_names_the_input_that_is_missing(pipe: Shell) -> None:
    (pipe.folder / "raw").unlink()
    done = pipe("restart", "--yes")
    assert (done.code, f"cut reads {pipe.folder / 'raw'}" in done.err) == (1, True)
    assert states(pipe) == STOOD


def test_of_several_workflows_one_must_be_named(pipe: Shell) -> None:
    pipe("submit", "spec.yaml", "--as", "other")
    done = pipe("restart", "--yes")
    assert (done.code, "1 pipe, 2 other" in done.err) == (1, True)
    assert pipe("restart", "--yes", "-w", "1").code == 0


def test_a_reset_holds_until_a_restart_and_is_shown_as_held(pipe: Shell) -> None:
    shown = pipe("reset", "-s", "failed", "--dry-run")
    assert "3 jobs run again: 2 selected, 1 downstream; 2 held until a restart" in shown.out
    assert states(pipe) == STOOD
    done = pipe("reset", "-s", "failed", "--yes")
    assert "rerun 1 is applied: 0 ready, 2 held until `rekindle restart`" in done.out
    assert states(pipe) == {**STOOD, "fit": "ready held", "kill": "ready held"}
    assert "held: reset" in pipe("jobs", "list").out
    assert pipe("reruns", "list", "--json").json["reruns"][0]["kind"] == "reset"
    again = pipe("reset", "-s", "failed", "--yes")
    assert (again.code, again.out) == (0, "nothing selected\n")
    assert pipe("reset", "fit", "--yes").code == 1
    let_go = pipe("restart", "--only-uninitialized", "--yes")
    assert "2 jobs run again: 2 let go" in let_go.out
    assert states(pipe) == {**STOOD, "fit": "ready", "kill": "ready"}
    assert "no job is held by a reset" in pipe("restart", "--only-uninitialized").out
    for before in ({**STOOD, "fit": "ready held", "kill": "ready held"}, STOOD):
        assert pipe("undo").code == 0
        assert states(pipe) == before


def test_live_failures_pipe_into_a_reset(pipe: Shell) -> None:
    """Reset by return code leaves out jobs that completed after their failure."""
    pipe.write("", "ok")
    pipe("rerun", "fit", "--yes", "--work")
    assert pipe("reset", "-f", "exit_code=1", "--yes").out == "nothing selected\n"
    assert pipe("reset", "-s", "failed", "--dry-run", "--json").json["jobs"][0]["name"] == "kill"


def test_what_changed_is_accepted_and_why_says_so(pipe: Shell) -> None:
    pipe.write("1\n# a comment\n", "raw")
    done = pipe("accept", "cut", "fit", "--note", "only a comment")
    assert done.code == 0
    assert "input raw changed" in done.out
    assert "it failed: there is nothing that could be accepted" in done.out
    assert done.out.endswith("rerun 1 is recorded: 1 job accepted\n")
    assert "rerun 1 accepted (only a comment)" in pipe("why", "cut").out
    assert pipe("rerun", "-w", "pipe", "--changed", "--yes").out == "nothing is stale\n"
    shown = pipe("reruns", "show", "1")
    assert "ACCEPTED" in shown.out
    assert "run again" not in shown.out
    document = pipe("reruns", "show", "1", "--json").json
    assert (document["kind"], document["jobs"][0]["reasons"][0]["kind"]) == ("accept", "input")
    nothing = pipe("accept", "cut")
    assert (nothing.code, nothing.out) == (0, "nothing is stale: there is nothing to accept\n")
    assert pipe("accept", "cut", "--json").json["current"] == [1]
    refused = pipe("accept", "fit", "--json")
    assert (refused.code, refused.json["refused"][0]["name"]) == (1, "fit")
    assert "1 job back: 1 completed" in pipe("undo").out
    assert pipe("accept", "-w", "pipe", "--changed", "--json").json["rerun"] == 2
    assert states(pipe) == STOOD


def test_the_same_in_python(pipe: Shell) -> None:
    from rekindle import Client

    with Client(str(pipe.folder / ".rekindle")) as client:
        assert client.plan_restart().proposal is not None
        restarted = client.restart(note="again")
        assert restarted is not None
        assert restarted.ready == 1
        client.undo()
        assert client.reset(client.select(state="failed")).held == 2
        released = client.restart("pipe", only_uninitialized=True)
        assert released is not None
        assert client.restart(only_uninitialized=True) is None
        pipe.write("1\n#\n", "raw")
        accepted = client.accept(client.select("cut"), note="a comment")
        assert [job.name for job in accepted.plan.jobs] == ["cut"]
        assert client.accept(client.select("cut")).rerun is None
