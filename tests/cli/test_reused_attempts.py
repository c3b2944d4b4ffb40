"""What commands say of attempts that stand for earlier ones: undo, logs, and the path of a forecast."""

from __future__ import annotations

import pytest
from cli_shell import Shell

SPEC = """\
name: sweep
params: {a: 1}
defaults: {cache: true}
jobs:
  make: {run: "sleep 0.2; echo made ${params.a}; echo ${params.a} > made.txt", outputs: {out: made.txt}}
  use:
    run: sleep 0.3; echo used ${params.a}; cp made.txt used.txt
    inputs: {made: made.txt}
    outputs: {out: used.txt}
"""


def attempts_of(shell: Shell, job: str) -> dict[int, int]:
    """The ids of a job's attempts, by number."""
    found = shell("attempts", "list", job, "--json").json["attempts"]
    return {one["number"]: one["id"] for one in found}


@pytest.fixture
def reused(shell: Shell) -> Shell:
    """A workflow of which a parameter was changed and set back: its attempts 3 stand for the attempts 1."""
    shell.write(SPEC)
    for a in (1, 2, 1):
        assert shell("run", "spec.yaml", "--param", f"a={a}", "--yes").code == 0
    assert sorted(attempts_of(shell, "use")) == [1, 2, 3]
    return shell


def test_undo_of_a_rerun_whose_jobs_were_reused_says_from_which_attempts(reused: Shell) -> None:
    newest = max(one["rerun"] for one in reused("reruns", "list", "--json").json["reruns"] if one["kind"] == "run")
    done = reused("undo", str(newest))
    make, use = attempts_of(reused, "make")[1], attempts_of(reused, "use")[1]
    assert done.code == 1
    assert f"`make`, `use` were reused from attempts {make}, {use} since the rerun" in done.err


def test_logs_of_a_reused_attempt_are_those_of_the_attempt_that_ran(reused: Shell) -> None:
    ids = attempts_of(reused, "use")
    done = reused("logs", "use")
    assert (done.code, done.out) == (0, "used 1\n")
    assert done.err == f"reused from attempt {ids[1]}: its logs\n"
    assert reused("logs", "use", "--attempt", "2").out == "used 2\n"
    assert reused("logs", "use", "-f").out == "used 1\n"
    found = reused("logs", "use", "--json").json["logs"]
    assert [(one["attempt"], one["text"]) for one in found if one["stream"] == "stdout"] == [(ids[1], "used 1\n")]


def test_logs_of_an_attempt_reused_from_another_workflow_name_it(reused: Shell) -> None:
    reused.write(SPEC.replace("name: sweep", "name: second"), "second.yaml")
    assert reused("run", "second.yaml", "--param", "a=1").code == 0
    done = reused("logs", "use", "-w", "second")
    assert (done.code, done.out) == (0, "used 1\n")
    assert done.err.startswith("reused from attempt ")
    assert done.err.endswith(" of sweep: its logs\n")


def test_the_path_that_decided_the_end_has_the_times_of_the_attempts_that_ran(reused: Shell) -> None:
    past = reused("forecast", "-w", "sweep", "--json").json["past"]
    assert [one["name"] for one in past["path"]] == ["make", "use"]
    assert past["ran_seconds"] >= 0.45


def test_the_path_has_what_was_completed_by_hand(reused: Shell) -> None:
    assert reused("rerun", "use", "--yes").code == 0
    assert reused("complete", "use", "--note", "from the cluster").code == 0
    past = reused("forecast", "-w", "sweep", "--json").json["past"]
    assert [one["name"] for one in past["path"]] == ["make", "use"]
