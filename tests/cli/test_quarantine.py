"""`quarantine:`: failures of known problems are reported, and do not fail the batch until a day."""

from __future__ import annotations

import pytest

SPEC = """
name: nightly
jobs:
  good: {run: "true"}
  flaky: {run: "echo too slow >&2; exit 3", quarantine: {until: DAY, why: slow machines}}
  after: {needs: [flaky], run: "true"}
  report: {needs: [flaky, good], when: finished, run: "true"}
"""
AHEAD, BEHIND = "2999-12-31", "2000-01-01"


@pytest.fixture
def nightly(shell):
    shell.write(SPEC.replace("DAY", AHEAD))
    return shell


def states(shell) -> dict[str, str]:
    return {job["name"]: job["state"] for job in shell("jobs", "list", "--json").json["jobs"]}


@pytest.mark.parametrize("command", [["run", "spec.yaml"], ["work"], ["supervise", "nightly"]], ids=lambda one: one[0])
def test_only_a_quarantined_failure_exits_with_0_and_is_reported(nightly, command):
    nightly("submit", "spec.yaml")
    done = nightly(*command, "-j", "2")
    assert done.code == 0, done.err
    assert "in quarantine: 1 failed job of flaky, until 2999-12-31: slow machines" in done.err + done.out
    assert states(nightly) == {"good": "completed", "flaky": "failed", "after": "waiting", "report": "completed"}


@pytest.mark.parametrize("command", [["run", "spec.yaml"], ["work"], ["supervise", "nightly"]], ids=lambda one: one[0])
def test_past_its_day_a_failure_counts_and_the_end_is_reported(shell, command):
    shell.write(SPEC.replace("DAY", BEHIND))
    shell("submit", "spec.yaml")
    done = shell(*command, "-j", "2")
    assert done.code == 2
    text = "the quarantine of flaky ended with 2000-01-01 (slow machines): its 1 failed job counts again"
    assert text in done.err + done.out


def test_another_failure_fails_the_batch(nightly):
    nightly.write(SPEC.replace("DAY", AHEAD) + '  bad: {run: "exit 4"}\n')
    assert nightly("run", "spec.yaml").code == 2
    assert nightly("run", "spec.yaml").code == 2


def test_a_second_run_does_nothing_and_exits_alike(nightly):
    assert nightly("run", "spec.yaml").code == 0
    done = nightly("run", "spec.yaml")
    assert (done.code, "in quarantine: 1 failed job of flaky" in done.err) == (0, True)
    assert "1 job does not start, because it needs a job that failed" in done.err


def test_a_quarantine_that_is_added_later_covers_the_failure_and_makes_nothing_stale(shell):
    shell.write(SPEC.replace(", quarantine: {until: DAY, why: slow machines}", ""))
    assert shell("run", "spec.yaml").code == 2
    shell.write(SPEC.replace("DAY", AHEAD))
    done = shell("run", "spec.yaml")
    assert done.code == 0
    assert {job["attempts"] for job in shell("jobs", "list", "--json").json["jobs"] if job["name"] != "after"} == {1}


def test_documents_and_status_name_the_quarantine(nightly):
    ran = nightly("run", "spec.yaml", "--json").json
    assert (ran["exit_code"], ran["ran"]["failed"], ran["ran"]["quarantined"]) == (0, 1, 1)
    (one,) = nightly("status", "--json").json["workflows"][0]["quarantined"]
    kept = {"until": AHEAD, "why": "slow machines"}
    assert one == {"template": "flaky", "quarantine": kept, "ended": False, "jobs": [2]}
    assert "in quarantine: 1 failed job of flaky" in nightly("status").out
    (group,) = nightly("failures", "--json").json["failures"]
    assert group["quarantined"] == [2]
    assert "in quarantine: 1 failed job of flaky" in nightly("failures").out
    assert nightly("jobs", "show", "flaky", "--json").json["quarantine"] == kept
    assert "until 2999-12-31: slow machines" in nightly("jobs", "show", "flaky").out


def test_supervise_neither_counts_nor_reruns_what_is_in_quarantine(nightly):
    nightly.write(SPEC.replace("DAY", AHEAD) + '  once: {run: "test -e seen || { touch seen; exit 4; }"}\n')
    nightly("submit", "spec.yaml")
    report = nightly("supervise", "nightly", "--max-failure-percent", "30", "--json").json
    assert (report["exit_code"], report["end"]) == (0, "clean")
    assert [(one["matching"], one["total"]) for one in report["rounds"]] == [(1, 5), (0, 5)]
    assert [one["name"] for one in report["fixed"]] == ["once"]
    assert report["left"] == [{"id": 2, "name": "flaky", "why": "it is in quarantine until 2999-12-31: slow machines"}]
    assert nightly("jobs", "show", "flaky", "--json").json["attempts"] == 1


def test_the_defaults_quarantine_every_job_without_its_own(shell):
    shell.write(
        f"name: a\ndefaults: {{quarantine: {{until: {AHEAD}, why: x}}}}\n"
        f"jobs:\n  b: {{run: 'false'}}\n  c: {{run: 'false', quarantine: {{until: {BEHIND}, why: y}}}}\n"
    )
    assert shell("run", "spec.yaml").code == 2
    found = shell("status", "--json").json["workflows"][0]["quarantined"]
    assert {one["template"]: one["ended"] for one in found} == {"b": False, "c": True}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("yes", "`quarantine` must be a mapping"),
        ("{until: 2030-01-31}", "`quarantine` has no `why`"),
        ("{why: x}", "`quarantine` has no `until`"),
        ("{until: tomorrow, why: x}", "`until` must be a date, and is 'tomorrow'"),
        ("{until: 20300131, why: x}", "`until` must be a date, and is '20300131'"),
        ("{until: 2030-02-31, why: x}", "`until` must be a date"),
        ("{until: 2030-01-31, why: x, who: me}", "`quarantine` has no key 'who'"),
        ("{until: 2030-01-31, why: ''}", "`why` is empty"),
    ],
)
def test_an_invalid_quarantine_is_refused_with_its_place(shell, written, message):
    shell.write(f"name: a\njobs:\n  b: {{run: 'true', quarantine: {written}}}\n")
    done = shell("submit", "spec.yaml")
    assert done.code == 1
    assert message in done.err
    assert "spec.yaml:3" in done.err
