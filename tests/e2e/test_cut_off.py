"""Early cut-off with real files, on the command line."""

from __future__ import annotations

import pytest

SPEC = """
name: chain
jobs:
  a: {run: "echo a >> ran.txt; cp raw a.out", inputs: {raw: raw}, outputs: {out: a.out}}
  b: {run: "echo b >> ran.txt; head -n 1 a.out > b.out", inputs: {in: a.out}, outputs: {out: b.out}}
  c: {run: "echo c >> ran.txt; cp b.out c.out", inputs: {in: b.out}, outputs: {out: c.out}}
  d: {run: "echo d >> ran.txt; cp c.out d.out", inputs: {in: c.out}, outputs: {out: d.out}}
"""


@pytest.fixture
def chain(project):
    project.spec(SPEC)
    project.write("raw", "first\nsecond\n")
    project.rekindle("run", "spec.yaml")
    assert project.ran() == ["a", "b", "c", "d"]
    return project


def stale(project):
    return {job["name"]: job["stale"] for job in project.ask("why", "-w", "chain")["jobs"]}


def test_a_file_that_is_made_again_as_it_was_spares_those_who_read_it(chain):
    (chain.folder / "b.out").unlink()
    assert stale(chain) == {"a": False, "b": True, "c": True, "d": False}
    chain.rekindle("rerun", "--changed", "--downstream", "changed", "--yes", "--work")
    assert chain.ran() == ["a", "b", "c", "d", "b"]
    assert stale(chain) == dict.fromkeys("abcd", False)


def test_an_edit_that_the_next_job_does_not_pass_on_goes_no_further(chain):
    chain.write("raw", "first\nother\n")
    planned = chain.rekindle("rerun", "--changed", "--downstream", "changed", "--dry-run").stdout
    assert planned.count("unless unchanged") == 4  # three jobs, and their number
    assert "1 job runs again: 1 selected; 3 more unless unchanged" in planned
    done = chain.rekindle("rerun", "--changed", "--downstream", "changed", "--yes", "--work")
    assert chain.ran() == ["a", "b", "c", "d", "a", "b"]
    assert "2 jobs reinstated, not run: what they depend on is unchanged" in done.stderr
    assert stale(chain) == dict.fromkeys("abcd", False)
    assert "not run: inputs unchanged (rerun 1)" in chain.rekindle("why", "c").stdout
    shown = chain.rekindle("reruns", "show", "1").stdout
    assert "reinstated, not run: c, d" in shown
    assert "to run, for something had changed: b" in shown
    assert {one["result"] for one in chain.ask("reruns", "show", "1")["checked"]} == {"reinstated", "runs"}


def test_a_job_runs_whose_own_output_is_gone(chain):
    chain.write("raw", "first\nother\n")
    (chain.folder / "c.out").unlink()
    chain.rekindle("rerun", "a", "--downstream", "changed", "--yes", "--work")
    assert chain.ran() == ["a", "b", "c", "d", "a", "b", "c"]
    assert stale(chain) == dict.fromkeys("abcd", False)


def test_what_is_left_below_is_stale_and_runs_when_that_is_asked_for(chain):
    chain.write("raw", "other\n")
    chain.rekindle("rerun", "a", "--downstream", "none", "--yes", "--work")
    assert chain.ran()[4:] == ["a"]
    found = stale(chain)
    assert (found["a"], found["b"]) == (False, True)
    chain.rekindle("rerun", "--changed", "--yes", "--work")
    assert chain.ran()[4:] == ["a", "b", "c", "d"]
    assert stale(chain) == dict.fromkeys("abcd", False)


def test_a_pinned_rerun_says_which_revision_it_runs(chain):
    chain.spec(SPEC.replace("echo a", "echo A"))
    chain.rekindle("submit", "spec.yaml")
    pinned = chain.rekindle("rerun", "a", "--definition", "pinned", "--yes", "--work").stdout
    assert "definition: pinned to revision 1 (the latest is revision 2)" in pinned
    assert "definition: revision 2, the latest" in chain.rekindle("rerun", "a", "--dry-run").stdout
    assert chain.ran()[4:5] == ["a"]
    newest = next(one for one in chain.attempts() if not one["archived"])
    assert (newest["revision"], newest["pinned"], newest["pinned_to"]) == (1, True, 1)
    assert "pinned" in chain.rekindle("attempts", "list", "a").stdout
    assert "that of attempt 1" in chain.rekindle("attempts", "show", str(newest["id"])).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--downstream", "some"), "'some' is not one of 'all', 'changed', 'none'"),
        (("--definition", "old"), "'old' is not one of 'latest', 'pinned'"),
        (("--undo-dynamic", "--downstream", "none"), "--downstream all or changed"),
    ],
)
def test_what_makes_no_sense_is_refused(chain, words, said):
    assert said in chain.rekindle("rerun", "a", *words, "--dry-run", expect=64).stderr
