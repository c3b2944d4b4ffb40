"""Commands of torc since 0.8."""

from __future__ import annotations

import json
import sys

import pytest
from torc_folder import FAILING, Torc


def test_run_takes_a_spec_file_or_a_workflow(torc: Torc) -> None:
    torc.write("w.yaml", FAILING)
    document = json.loads(torc("run", "w.yaml", "-f", "json").out)
    assert (document["workflow_key"], document["failed"]) == ("1", 2)
    torc.write("mended", "")
    assert torc("workflows", "reset-status", "1", "--failed-only", "--reinitialize").code == 0
    assert torc("workflows", "run", "1", "--max-parallel-jobs", "2").code == 0
    assert set(torc.statuses().values()) == {"done"}
    assert json.loads(torc("workflows", "is-complete", "1", "--format", "json").out)["is_complete"] is True


@pytest.mark.parametrize(
    "words", [("-f", "json", "jobs", "list"), ("jobs", "list", "-f", "json", "--status", "failed")]
)
def test_the_format_is_named_before_or_after_the_command(failing: Torc, words: tuple[str, ...]) -> None:
    names = {job["name"] for job in json.loads(failing(*words).out)["jobs"]}
    assert {"bad", "worse"} <= names


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--failed",), {"bad", "worse"}),
        (("--return-code", "3"), {"worse"}),
        (("-s", "done", "-f", "return_code=0"), {"good"}),
    ],
)
def test_results_by_their_end(failing: Torc, words: tuple[str, ...], names: set[str]) -> None:
    assert {one["job_name"] for one in failing.json("results", "list", *words)["results"]} == names


def test_jobs_are_reset_and_run_in_one_command(failing: Torc) -> None:
    keys = failing.keys()
    assert failing("jobs", "reset-status", keys["bad"], keys["worse"], "--dry-run", "--reinitialize").code == 0
    assert failing.statuses()["bad"] == "done"
    assert failing("jobs", "reset-status", keys["bad"], keys["worse"], "--restart", "--no-prompts").code == 0
    assert failing.statuses("status=ready") == {"bad": "ready", "worse": "ready"}


def test_a_spec_is_checked_without_being_stored(torc: Torc) -> None:
    torc.write("w.yaml", FAILING)
    assert torc("create", "w.yaml", "--dry-run", "-u", "me").out.startswith("failing is valid: 4 jobs")
    assert sorted(path.name for path in torc.folder.iterdir()) == ["w.yaml"]


def test_one_workflow_is_shown(failing: Torc) -> None:
    found = json.loads(failing("workflows", "get", "1").out)
    assert (found["name"], found["run_id"]) == ("failing", 1)


@pytest.mark.parametrize("what", ["1", "workflow.yaml"])
def test_the_stages_of_a_workflow_are_shown(failing: Torc, what: str) -> None:
    stages = failing.json("workflows", "execution-plan", what)["stages"]
    assert [stage["jobs"] for stage in stages] == [["good", "bad", "worse"], ["below"]]
    assert failing("workflows", "execution-plan", what).out.splitlines()[1] == "stage 2: 1 job: below"


def test_one_job_is_shown(failing: Torc) -> None:
    job = json.loads(failing("jobs", "get", failing.keys()["worse"]).out)
    assert (job["name"], job["status"], job["return_code"]) == ("worse", "done", 3)


@pytest.mark.parametrize(
    "line",
    [
        "status 1",
        "reports summary 1",
        "workflows sync-status",
        "workflows init --no-prompts",
        "init-jobs 1",
        "init",
        "reinit 1",
    ],
)
def test_other_words_for_a_command(failing: Torc, line: str) -> None:
    assert failing(*line.split()).code == 0


def test_workflows_are_deleted(failing: Torc) -> None:
    assert failing("delete", "-f", "1", "--no-prompts").code == 0
    assert failing.json("workflows", "list") == {"workflows": []}


EATS = f"""\
name: big
resource_requirements: [{{name: small, memory: 80m, runtime: PT5M}}]
jobs:
  - {{name: eats, command: "{sys.executable} -c 'import time; kept = bytearray(100 << 20); time.sleep(3)'",
     resource_requirements: small}}
  - {{name: fails, command: "exit 7"}}
"""


def test_recover_gives_more_of_what_ran_out(torc: Torc) -> None:
    torc.create(EATS)
    assert torc("run", "1").code == 2
    document = torc.json("recover", "1", "--dry-run")
    assert (document["jobs"], document["left"]) == (["eats"], ["fails"])
    assert set(torc.statuses().values()) == {"terminated", "done"}
    assert torc.json("recover", "1", "--memory-multiplier", "4")["jobs"] == ["eats"]
    assert torc("run", "1").code == 0
    assert {one["job_name"]: one["return_code"] for one in torc.json("results", "list")["results"]} == {
        "eats": 0,
        "fails": 7,
    }
    assert torc("recover", "1").out.startswith("nothing to recover")
    assert torc.json("recover", "1", "--retry-unknown", "--dry-run")["jobs"] == ["fails"]


def test_watch_recovers_until_nothing_is_left_to_recover(torc: Torc) -> None:
    torc.create(
        "name: a\nresource_requirements: [{name: brief, runtime: PT1S}]\n"
        "jobs: [{name: sleeps, command: sleep 2, resource_requirements: brief}]\n"
    )
    done = torc("watch", "1", "--recover", "--runtime-multiplier", "8", "-m", "2")
    assert (done.code, done.err) == (0, "recovery 1: sleeps\n")


def test_the_version_is_printed(torc: Torc) -> None:
    assert torc("--version").out.startswith("rekindle torc")
