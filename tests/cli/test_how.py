"""The options of `rerun` that say how a rerun is done."""

from __future__ import annotations

import pytest

from made_once import made_once

SPEC = """\
name: tuned
params: {alpha: 1}
jobs:
  fit:
    resources: {memory: 1M}
    steps:
      - {name: load, run: "true"}
      - {name: fit, run: "test ${params.alpha} = 5"}
"""


@pytest.fixture
@made_once
def tuned(shell):
    """A job that fails in its second step until alpha is 5."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    return shell


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "8"),
        ("--memory", "x0"),
        ("--time", "soon"),
        ("--cpus", "0"),
        ("--cpus", "many"),
        ("--set", "alpha"),
        ("--env", "A-B=1"),
        ("--from", "--yes"),
        ("--keep-recovery", "--clear-recovery"),
        ("--keep-recovery", "--from", "beginning"),
    ],
)
def test_a_value_that_is_wrong_is_refused_before_anything_is_done(tuned, words):
    assert tuned("rerun", "fit", "--yes", *words).code == 64
    assert tuned("reruns", "list", "--json").json == {"reruns": []}


def test_an_unknown_parameter_is_refused_in_the_plan(tuned):
    done = tuned("rerun", "fit", "--set", "alhpa=5", "--yes", "--json")
    assert done.code == 1
    assert "did you mean `alpha`" in done.json["refused"][0]["why"]


def test_what_is_modified_is_shown_before_and_after_and_recorded(tuned):
    words = ("rerun", "fit", "--from", "failed-step", "--set", "alpha=5", "--memory", "x2", "--keep-recovery")
    shown = tuned(*words, "--dry-run").out
    assert "alpha 1 -> 5 (fit)" in shown
    assert "memory 1.0 MiB -> 2.0 MiB (fit)" in shown
    done = tuned(*words, "--yes", "--work")
    assert done.code == 0
    listed = tuned("attempts", "list", "--json").json["attempts"]
    assert [one["modified"] for one in listed] == [False, True]
    assert listed[1]["overrides"] == {"params": {"alpha": 5}, "memory": 2097152}
    assert "alpha=5, memory=2.0 MiB" in tuned("attempts", "show", "2").out
    told = tuned("jobs", "show", "fit").out
    assert "alpha=5, memory=2.0 MiB" in told
    assert "kept by rerun 1" in told
    assert "set alpha=5, memory x2" in tuned("reruns", "show", "1").out
    again = tuned("rerun", "fit", "--dry-run").out
    assert "recovery kept by rerun 1" in again
    assert "alpha 5 -> 1" in again
    assert tuned("rerun", "fit", "--from", "beginning", "--dry-run", "--json").json["jobs"][0]["keep_recovery"] is None


def test_folders_are_told_in_the_plan_and_refused_by_name(shell):
    shell.write(SPEC.replace("name: tuned", "name: tuned\nworkdir: attempt"))
    assert shell("run", "spec.yaml").code == 2
    assert "fit, in a copy" in shell("rerun", "fit", "--from", "fit", "--dry-run").out
    same = shell("rerun", "fit", "--from", "fit", "--workdir", "same", "--dry-run", "--json").json["jobs"][0]
    assert (same["workdir"], same["start"]) == ("same", "fit")
    assert same["folder"] == shell("attempts", "show", "1", "--json").json["folder"]
    shell.write(SPEC.replace("name: tuned", "name: other"), "other.yaml")
    assert shell("run", "other.yaml").code == 2
    done = shell("rerun", "-w", "other", "--workdir", "copy", "--yes")
    assert done.code == 1
    assert "runs in the project's folder" in done.err


def test_outputs_that_are_saved_are_told_and_put_back(shell):
    shell.write("{name: made, jobs: {make: {run: 'echo made > out', outputs: {o: out}}}}")
    assert shell("run", "spec.yaml").code == 0
    assert "\noverwrites out\n" in shell("rerun", "make", "--dry-run").out
    assert "\nsaves and overwrites out\n" in shell("rerun", "make", "--keep-outputs", "--yes").out
    assert "its outputs were saved" in shell("attempts", "show", "1").out
    (shell.folder / "out").unlink()
    assert "1 file put back" in shell("undo").out
    assert (shell.folder / "out").read_text() == "made\n"


def test_the_python_client_gives_the_same(tuned):
    from rekindle import Client, How, Overrides

    with Client() as client:
        how = How("failed-step", recovery="keep", overrides=Overrides({"alpha": 5}, memory="x2"))
        proposal = client.plan_rerun(client.select("fit"), how)
        assert proposal.request["how"]["set"] == {"alpha": 5}
        client.apply(proposal)
        assert client.work().exit_code == 0
    assert tuned("attempts", "list", "--json").json["attempts"][1]["modified"]
