"""`why` and `--changed` on the command line."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """\
name: chain
params: {alpha: 1}
jobs:
  a:
    run: |
      cat ${inputs.raw} > ${outputs.out}
      echo ${params.alpha}
    inputs: {raw: raw.txt}
    outputs: {out: a.txt}
  b: {run: "cat ${inputs.a} > ${outputs.out}", inputs: {a: a.txt}, outputs: {out: b.txt}}
  lone: {run: "true"}
"""


@pytest.fixture
@made_once
def chain(shell: Shell) -> Shell:
    shell.write("raw\n", "raw.txt")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    return shell


def test_nothing_has_changed(chain: Shell) -> None:
    done = chain("why", "-w", "chain")
    assert (done.code, done.err) == (0, "")
    assert "3 jobs: 2 current, 1 unknown" in done.out
    assert chain("why", "-w", "chain", "--changed").out == "nothing is stale\n"
    assert chain("jobs", "list", "--changed").out == "nothing selected\n"
    assert chain("run", "spec.yaml").code == 0


def test_reasons_in_words_fit_the_terminal(chain: Shell) -> None:
    chain.write("other\n", "raw.txt")
    (chain.folder / "b.txt").unlink()
    chain.write(SPEC.replace("cat ${inputs.raw}", "cat < ${inputs.raw}").replace("alpha: 1", "alpha: 2"))
    before = chain("why", "a")
    assert "chain: the spec file differs from revision 1" in before.err
    assert chain("submit", "spec.yaml").code == 0
    done = chain("why", "-w", "chain")
    assert done.code == 0
    for told in (
        "the command changed",
        "- cat ${inputs.raw} > ${outputs.out}",
        "+ cat < ${inputs.raw} > ${outputs.out}",
        "  echo ${params.alpha}",
        "parameter alpha changed: 1 -> 2",
        "input raw changed",
        "output out is missing",
        "again: rekindle rerun -w 1 --changed --work",
    ):
        assert told in done.out
    assert max(len(line) for line in done.out.splitlines() if "/" not in line) <= 80


def test_the_document(chain: Shell) -> None:
    chain.write("other\n", "raw.txt")
    jobs = {one["name"]: one for one in chain("why", "-w", "chain", "--json").json["jobs"]}
    assert {name: (one["stale"], one["verdict"]) for name, one in jobs.items()} == {
        "a": (True, "stale"),
        "b": (False, "upstream"),
        "lone": (None, "unknown"),
    }
    [reason] = jobs["a"]["reasons"]
    assert (reason["kind"], reason["name"], reason["path"]) == ("input", "raw", str(chain.folder / "raw.txt"))
    assert jobs["b"]["reasons"] == [{"kind": "upstream", "job": jobs["a"]["id"], "name": "a"}]
    listed = chain("jobs", "list", "--changed", "--json").json["jobs"]
    assert [(one["name"], one["stale"]) for one in listed] == [("a", True)]
    assert chain("jobs", "list", "--json").json["jobs"][0]["stale"] is None
    assert chain("jobs", "show", "a", "--json").json["stale"] is True
    assert "input raw changed" in chain("jobs", "show", "a").out


def test_rerun_changed_runs_what_is_stale_and_what_follows(chain: Shell) -> None:
    done = chain("rerun", "--changed", "--yes")
    assert (done.code, done.out) == (0, "nothing is stale\n")
    assert done.err == "1 job is unknown: there is nothing to compare; -n NAME selects a job by name\n"
    chain.write("other\n", "raw.txt")
    plan = chain("rerun", "--changed", "--dry-run", "--json").json
    assert [job["name"] for job in plan["jobs"]] == ["a", "b"]
    assert [reason["kind"] for reason in plan["jobs"][0]["reasons"]] == ["selected", "input"]
    assert chain("rerun", "-n", "b", "--changed", "--yes").out == "nothing is stale\n"
    assert chain("rerun", "-w", "chain", "--changed", "--yes", "--work").code == 0
    assert (chain.folder / "b.txt").read_text() == "other\n"
    assert chain("rerun", "--changed", "--yes").out == "nothing is stale\n"


def test_run_without_reruns_names_what_is_stale_and_exits_with_1(chain: Shell) -> None:
    chain.write("other\n", "raw.txt")
    done = chain("run", "spec.yaml", "--no-rerun")
    assert done.code == 1
    assert "1 job is stale: a" in done.err
    assert "rekindle why -w 1 --changed" in done.err


def test_why_wants_a_selection_and_names_what_is_not_there(chain: Shell) -> None:
    assert chain("why").code == 64
    done = chain("why", "nobody")
    assert (done.code, "no such job: nobody" in done.err) == (1, True)
    assert chain("why", "-s", "failed").out == "nothing selected\n"


def test_many_jobs_of_which_the_same_is_true_are_told_together(shell: Shell) -> None:
    shell.write("raw\n", "raw.txt")
    shell.write("name: m\njobs:\n  m: {matrix: {k: {range: [0, 30]}}, run: 'true', inputs: {raw: raw.txt}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("other\n", "raw.txt")
    done = shell("why", "--all")
    assert done.out.count("input raw changed") == 1
    assert done.out.startswith("m[*] ×30  completed\n")
    assert "m[k=29]" in shell("why", "--all", "-v").out
