"""Revisions on the command line: compared, previewed, submitted with a rerun, recorded."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

FIRST = """\
name: sweep
params: {alpha: 0.1}
jobs:
  prepare: {run: "echo ${params.alpha}"}
  train:
    matrix: {seed: {range: [0, 4]}}
    needs: [prepare]
    run: "true"
  left: {needs: [prepare], run: "false"}
  report: {needs: ["train*", left], run: "true"}
"""
SECOND = """\
name: sweep
params: {alpha: 0.2}
jobs:
  prepare: {run: "echo ${params.alpha}"}
  train:
    matrix: {seed: {range: [0, 8]}}
    needs: [prepare]
    resources: {memory: 512M}
    run: |
      true
      echo done
  left: {needs: [prepare], run: "true"}
  report: {needs: [left], run: "true"}
"""


@pytest.fixture
@made_once
def sweep(shell: Shell) -> Shell:
    """The first revision, run; the file is the second one."""
    shell.write(FIRST)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    shell.write(SECOND)
    return shell


def test_a_diff_tells_parameters_jobs_fields_and_edges(sweep: Shell) -> None:
    out = sweep("workflows", "diff", "sweep").out
    assert out.splitlines()[1:] == [
        "  params.alpha: 0.1 -> 0.2",
        "  + 4 jobs made from `train`",
        "  ~ 4 jobs made from `train`",
        "      steps.run.run",
        "          true",
        "        + echo done",
        "      resources.memory: 0 B -> 512.0 MiB",
        "  ~ left",
        "      steps.run.run",
        "        - false",
        "        + true",
        "  > report needs 4 less of `train`",
    ]
    assert "train[seed=7]" in sweep("workflows", "diff", "sweep", "-v").out


def test_the_json_of_a_diff_names_everything(sweep: Shell) -> None:
    found = sweep("workflows", "diff", "sweep", "--json").json
    assert [found[key] for key in ("workflow", "name", "from", "to", "unchanged")] == [1, "sweep", 1, None, False]
    assert found["added"] == [f"train[seed={seed}]" for seed in range(4, 8)]
    assert found["changed"] == [*(f"train[seed={seed}]" for seed in range(4)), "left"]
    assert found["params"] == [{"field": "alpha", "before": 0.1, "after": 0.2}]
    assert found["needs"][0]["lost"][0] == {"job": "report", "needs": "train[seed=0]"}


def test_revisions_are_compared_with_each_other_and_with_any_file(sweep: Shell) -> None:
    sweep("submit", "spec.yaml")
    sweep.write(FIRST.replace("left", "right"), "other.yaml")
    assert "revision 1 -> revision 2" in sweep("workflows", "diff", "sweep").out
    assert "revision 2 -> revision 1" in sweep("workflows", "diff", "sweep", "2", "1").out
    assert "+ right" in sweep("workflows", "diff", "sweep", "1", "--spec", "other.yaml").out
    assert "params.alpha: 0.2 -> 0.7" in sweep("workflows", "diff", "sweep", "--param", "alpha=0.7").out
    assert sweep("workflows", "diff", "sweep", "2", "2").out.endswith("no job, parameter or edge differs\n")
    missing = sweep("workflows", "diff", "sweep", "9")
    assert (missing.code, "no revision 9" in missing.err, "1 to 2" in missing.err) == (1, True, True)
    assert sweep("workflows", "diff", "sweep", "1", "2", "--spec", "other.yaml").code == 64


@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_dry_run_shows_what_submitting_would_do_and_does_nothing(sweep: Shell, command: str) -> None:
    before = sweep("status", "--json").out, sweep("events", "list", "--json").out
    done = sweep(command, "spec.yaml", "--dry-run")
    assert done.code == 0
    assert "would be revision 2" in done.out
    assert "4 added, 5 changed, 1 needs others; then 4 ready" in done.out
    assert (sweep("status", "--json").out, sweep("events", "list", "--json").out) == before
    document = sweep(command, "spec.yaml", "--dry-run", "--json").json
    assert (document["revision"], document["dry_run"], len(document["plan"]["jobs"])) == (2, True, 10)
    assert document["diff"]["params"][0]["field"] == "alpha"


def test_a_dry_run_of_a_new_or_unchanged_spec_says_so(shell: Shell) -> None:
    shell.write(FIRST)
    assert "would be a new workflow, 7 jobs" in shell("submit", "spec.yaml", "--dry-run").out
    assert not (shell.folder / ".rekindle").exists()
    shell("submit", "spec.yaml")
    assert "unchanged since revision 1" in shell("submit", "spec.yaml", "--dry-run").out


def test_a_submission_stands_among_the_reruns_and_is_not_undone(sweep: Shell) -> None:
    sweep("submit", "spec.yaml")
    assert "revision 2 of sweep" in sweep("reruns", "list").out
    shown = sweep("reruns", "show", "1").out
    assert "4 added, 5 changed, 1 needs others; then 4 ready" in shown
    assert "rekindle workflows diff 1 1 2" in shown
    assert sweep("reruns", "show", "1", "--json").json["kind"] == "revision"
    refused = sweep("undo", "1")
    assert (refused.code, "submit the earlier file" in refused.err) == (1, True)
    assert sweep("undo").code == 1
    told = sweep("workflows", "show", "sweep", "--json").json["revisions"]
    assert [(one["revision"], one["rerun"]) for one in told] == [(1, None), (2, 1)]
    assert "REVISION  SUBMITTED" in sweep("workflows", "show", "sweep").out


def test_a_revision_and_a_rerun_are_one_step(sweep: Shell) -> None:
    dry = sweep("rerun", "left", "--submit", "spec.yaml", "--dry-run").out
    assert "would be revision 2" in dry
    assert "2 jobs run again: 1 selected, 1 downstream" in dry
    assert sweep("workflows", "list", "--json").json["workflows"][0]["revision"] == 1
    refused = sweep("rerun", "left", "--submit", "spec.yaml")
    assert (refused.code, "--yes" in refused.err) == (1, True)
    document = sweep("rerun", "left", "--submit", "spec.yaml", "--yes", "--json").json
    assert (document["rerun"], document["submitted"]["revision"], document["submitted"]["rerun"]) == (2, 2, 1)
    assert sweep("work").code == 0
    assert sweep("status", "--json").json["workflows"][0]["counts"] == {"completed": 11}


def test_flags_that_do_not_go_with_a_submission_are_refused(sweep: Shell) -> None:
    saved = sweep("rerun", "left", "--submit", "spec.yaml", "--save-plan", "plan.json")
    assert (saved.code, "the new revision would change them" in saved.err) == (64, True)
    assert sweep("rerun", "left", "--param", "alpha=1").code == 64
    assert sweep("rerun", "--submit", "spec.yaml").code == 64
    nothing = sweep("rerun", "-s", "canceled", "--submit", "spec.yaml")
    assert (nothing.code, nothing.out, "nothing is submitted" in nothing.err) == (0, "nothing selected\n", True)


@pytest.mark.parametrize(
    ("damage", "state", "said"),
    [
        ("# only a remark\n" + FIRST, "changed", "differs from revision 1"),
        ("name: [", "invalid", "has mistakes in it"),
        (None, "gone", "the spec file is gone"),
        (FIRST, "same", ""),
    ],
)
def test_status_and_rerun_say_how_the_spec_file_stands(sweep: Shell, damage: str | None, state: str, said: str) -> None:
    path = sweep.folder / "spec.yaml"
    path.unlink() if damage is None else path.write_text(damage)
    assert sweep("status", "--json").json["workflows"][0]["spec"] == state
    shown = sweep("status").out
    assert said in shown
    assert max(map(len, shown.splitlines())) <= 80
    note = sweep("rerun", "left", "--dry-run").err
    assert said in note
    assert bool(note) == bool(said)


def test_parameters_alone_are_no_difference_of_the_file(shell: Shell) -> None:
    shell.write(FIRST)
    shell("submit", "spec.yaml", "--param", "alpha=0.5")
    assert shell("status", "--json").json["workflows"][0]["spec"] == "same"
    assert "as stored in revision 1" in shell("workflows", "diff", "sweep").out


def test_what_the_new_revision_makes_stale_is_rerun_with_it_and_nothing_else(shell: Shell) -> None:
    jobs = "{a: {run: 'echo > x', outputs: {o: x}}, b: {run: 'cat ${inputs.i}', inputs: {i: x}}, c: {run: 'echo'}}"
    shell.write(f"name: w\njobs: {jobs}\n")
    assert shell("run", "spec.yaml").code == 0
    assert shell("rerun", "-w", "w", "--changed", "--submit", "spec.yaml", "--yes").out == "nothing is stale\n"
    shell.write(f"name: w\njobs: {jobs.replace('cat', 'cat -n')}\n")
    planned = shell("rerun", "-w", "w", "--changed", "--submit", "spec.yaml", "--dry-run", "--json").json
    assert [job["name"] for job in planned["jobs"]] == ["b"]
    assert [reason["kind"] for reason in planned["jobs"][0]["reasons"]] == ["selected", "definition"]
    done = shell("rerun", "-w", "w", "--changed", "--submit", "spec.yaml", "--yes", "--json").json
    assert (done["submitted"]["revision"], [job["name"] for job in done["jobs"]]) == (2, ["b"])
