"""`failures` by signature, and reruns of one signature."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """
name: w
jobs:
  cold:
    matrix: {n: {range: [0, 6]}}
    steps: [{name: warm, run: "true"}, {name: cook, run: "echo cold tea >&2; exit 3"}]
  mute: {run: "echo only here; exit 4"}
"""


@pytest.fixture
@made_once
def failed(shell: Shell) -> Shell:
    shell.write(SPEC)
    shell("run", "spec.yaml")
    return shell


def test_each_kind_is_told_with_when_where_and_an_example(failed: Shell) -> None:
    text = failed("failures").out
    assert "cold tea" in text.splitlines()[1]
    assert "attempt 1, step cook: exit 3" in text
    assert "│ only here" in text, "what says nothing on stderr is told by what it printed"
    assert "--canary 1" in text
    cold, mute = failed("failures", "--json").json["failures"]
    assert (cold["count"], mute["count"]) == (6, 1)
    assert cold["first"] <= cold["last"]
    assert sum(host["count"] for host in cold["hosts"]) == 6
    assert (cold["example"]["step"], cold["example"]["tail"]) == ("cook", ["cold tea"])
    assert mute["example"]["tail"] == ["only here"]


@pytest.mark.parametrize("flag", ["--all", "--archived"])
def test_all_history_counts_what_was_rerun_too(failed: Shell, flag: str) -> None:
    failed("rerun", "cold[n=0]", "--yes", "--work")
    live, every = failed("failures", "--json").json, failed("failures", flag, "-w", "w", "--json").json
    assert [one["count"] for one in live["failures"]] == [6, 1]
    assert [one["count"] for one in every["failures"]] == [7, 1]
    assert [len(one["jobs"]) for one in every["failures"]] == [6, 1]
    assert "rerun" not in failed("failures", flag).out


def test_a_signature_is_named_by_its_beginning_or_not_at_all(failed: Shell) -> None:
    cold, mute = (one["signature"] for one in failed("failures", "--json").json["failures"])
    plan = failed("rerun", "--signature", cold[:6].upper(), "--dry-run", "--json").json
    assert len(plan["jobs"]) == 6
    assert len(failed("rerun", "--signature", mute, "--dry-run", "--json").json["jobs"]) == 1
    unknown = failed("rerun", "--signature", "0" * 12, "--yes")
    assert (unknown.code, "no failure has the signature '000000000000'" in unknown.err) == (1, True)
    assert failed("rerun", "--signature", "xyz", "--yes").code == 64
    assert failed("rerun", "--signature", "", "--yes").code == 64


def test_a_saved_plan_with_canaries_is_applied_with_them(failed: Shell) -> None:
    document = failed("rerun", "-s", "failed", "--canary", "2", "--save-plan", "plan.json", "--json").json
    (group,) = document["canaries"]
    assert (len(group["canaries"]), len(group["waits"])) == (2, 4)
    assert "3 ready, 4 wait for canaries" in failed("apply", "plan.json").out
    shown = failed("jobs", "show", "cold[n=5]").out
    assert "waits for its canaries `cold[n=0]`, `cold[n=1]` (rerun 1)" in shown
    (told,) = failed("status", "--json").json["workflows"][0]["canaries"]
    assert (told["waiting"], told["outcome"], told["rerun"]) == (4, None, 1)
    assert "no longer waiting for canaries" in failed("cancel", "cold[n=5]").out
    assert failed("work", "--json").json["canaries"][0]["outcome"] == "stopped"
    assert failed("why", "cold[n=4]", "--json").json["jobs"][0]["canaries"]["waiting"] == 3


def test_failures_of_every_cause_have_their_whole_error_in_the_detail(shell: Shell) -> None:
    shell.write("""
name: w
jobs:
  typo: {run: [pyhton3, -c, "1"]}
  module: {call: "a_module_that_nobody_has_written_yet:main_function"}
  late: {run: sleep 60, resources: {time: 1s}}
  silent: {run: echo made nothing, outputs: {table: tables/of/results.csv}}
  fault: {run: "kill -9 $$"}
""")
    shell("run", "spec.yaml")
    text = shell("failures").out
    details = text[text.index("\n\n") :]
    assert "    cannot start pyhton3: no such program in PATH\n" in details
    assert "No module named 'a_module_that_nobody_has_written_yet'" in " ".join(details.split())
    assert "    ran longer than its limit of 1 s\n" in details
    assert "    missing output: table (tables/of/results.csv)\n  │ made nothing\n" in details
    assert "SIGKILL" in details
    assert "/usr/bin" not in text
    assert "/usr/bin" in shell("jobs", "show", "typo").out, "the searched folders are kept"


def test_examples_that_are_left_out_are_counted(shell: Shell) -> None:
    shell.write("name: w\njobs:\n" + "".join(f"  j{n}: {{run: exit {n}}}\n" for n in range(1, 10)))
    shell("run", "spec.yaml")
    assert "\n\n… and 4 more examples (-v shows all)\n" in shell("failures").out
    assert "more example" not in shell("failures", "-v").out


def test_bytes_in_the_tail_of_a_log_are_shown_as_elsewhere(shell: Shell) -> None:
    shell.write("name: w\njobs:\n  a: {run: \"printf 'x\\\\351\\\\376\\\\n'; exit 3\"}\n")
    assert shell("run", "spec.yaml").code == 2
    assert "│ x\\xe9\\xfe\n" in shell("failures").out
    assert shell("failures", "--json").json["failures"][0]["example"]["tail"] == ["x\\xe9\\xfe"]
