"""Promises of torc's documentation, one test each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from torc_folder import Torc, descendants, wait_for, wait_until

DOCUMENT = [
    # the sentence in the document, and its command line
    ("a dry run of what restart would change", "torc workflows restart --dry-run"),
    ("re-initialise the workflow and the statuses", "torc workflows restart"),
    ("check the status", "torc jobs list -f status=ready"),
    ("reset all jobs with a return code that is not zero", "torc workflows reset-job-status --failed-only {workflow}"),
    ("reset some of them", "torc jobs reset-status {bad} {worse}"),
    (
        "reset those that ended with 1",
        "torc jobs reset-status $(torc -F json results list -f return_code=1 | jq -r '.results | .[] | .job_key')",
    ),
    ("only those that are uninitialized", "torc workflows restart --only-uninitialized"),
]


@pytest.mark.parametrize(("said", "line"), DOCUMENT, ids=[said for said, _ in DOCUMENT])
def test_each_command_line_of_the_document_runs_as_it_stands(failing: Torc, said: str, line: str) -> None:
    keys = failing.keys()
    done = failing.shell(line.format(workflow=1, bad=keys["bad"], worse=keys["worse"]))
    assert done.code == 0, done.err


def test_command_lines_of_the_document_run_with_rekindle_before_torc(failing: Torc) -> None:
    (line,) = [line for said, line in DOCUMENT if said == "reset those that ended with 1"]  # two commands and a pipe
    done = failing.shell(line.replace("torc ", "rekindle torc "))
    assert done.code == 0, done.err


def test_t1_a_job_that_ends_with_a_return_code_has_a_result(failing: Torc) -> None:
    results = failing.json("results", "list")["results"]
    found = {one["job_name"]: (one["return_code"], one["status"], one["run_id"]) for one in results}
    assert found == {"good": (0, "done", 1), "bad": (1, "done", 1), "worse": (3, "done", 1)}
    assert all(one["completion_time"].endswith("Z") and one["exec_time_minutes"] >= 0 for one in results)


def test_t2_a_job_killed_for_memory_has_a_result_with_its_cause(torc: Torc) -> None:
    eats = f'{sys.executable} -c "import time; kept = bytearray(400 << 20); time.sleep(60)"'
    torc.write("eat.sh", f"#!/bin/sh\nexec {eats}\n").chmod(0o755)
    torc.create(
        "name: big\nresource_requirements: [{name: small, memory: 100m, runtime: PT5M}]\n"
        "jobs: [{name: eats, command: ./eat.sh, resource_requirements: small}]\n"
    )
    assert torc("jobs", "run").code == 2
    (result,) = torc.json("results", "list")["results"]
    assert (result["cause"], result["status"]) == ("oom", "terminated")
    assert torc.again() == {"eats"}


def test_t2_a_job_whose_worker_is_killed_with_it_does_not_stay_submitted(torc: Torc) -> None:
    torc.create('name: cut\njobs: [{name: long, command: "test -e go || { touch began; exec sleep 600; }"}]\n')
    runner = subprocess.Popen(["torc", "jobs", "run"], cwd=torc.folder, start_new_session=True)
    try:
        wait_for(torc.folder / "began")
        assert torc.statuses() == {"long": "submitted"}
    finally:
        for pid in [runner.pid, *descendants(runner.pid)]:  # the runner first: it would record how the others end
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        runner.wait()
    torc.write("go", "")
    assert torc("jobs", "run").code == 0
    causes = [one["cause"] for one in torc.json("results", "list", "--all-runs")["results"]]
    assert causes == ["lost", None]
    assert torc.statuses() == {"long": "done"}


@pytest.mark.parametrize(
    "line",
    [
        "workflows restart --dry-run",
        "workflows reset-status --failed-only --dry-run 1",
        "jobs reset-status bad --dry-run",
    ],
)
def test_t3_a_dry_run_shows_what_would_change_and_changes_nothing(failing: Torc, line: str) -> None:
    before = failing.json("jobs", "list"), failing.json("results", "list", "--all-runs")
    done = failing(*line.split())
    assert done.code == 0
    assert "a dry run: nothing is changed" in done.out
    assert (failing.json("jobs", "list"), failing.json("results", "list", "--all-runs")) == before


def test_t4_restart_resets_what_is_not_done_and_leaves_failed_jobs(torc: Torc) -> None:
    torc.create(
        'name: mixed\njobs:\n  - {name: fails, command: "exit 4"}\n'
        '  - {name: killed, command: "test -e second || { touch second; kill -9 $$; }"}\n'
        '  - {name: fine, command: "true"}\n'
    )
    assert torc("jobs", "run").code == 2
    assert torc.statuses() == {"fails": "done", "killed": "terminated", "fine": "done"}
    document = torc.json("workflows", "restart")
    assert [job["name"] for job in document["jobs"]] == ["killed"]
    assert [job["name"] for job in document["done"]] == ["fails"]
    assert torc.statuses("status=ready") == {"killed": "ready"}
    assert torc("jobs", "run").code == 0
    assert {one["job_name"]: one["run_id"] for one in torc.json("results", "list")["results"]}["killed"] == 2


def test_t4_jobs_that_run_are_left_alone_and_named(torc: Torc) -> None:
    torc.create(
        'name: busy\njobs:\n  - {name: runs, command: "touch began; until test -e go; do sleep 0.05; done"}\n'
        '  - {name: killed, command: "test -e go || kill -9 $$"}\n'
    )
    runner = subprocess.Popen(["torc", "jobs", "run", "-j", "2"], cwd=torc.folder)
    try:
        wait_for(torc.folder / "began")
        wait_until(lambda: torc.statuses()["killed"] == "terminated")
        document = torc.json("workflows", "restart", "--dry-run")
        assert [job["name"] for job in document["running"]] == ["runs"]
        assert [job["name"] for job in document["jobs"]] == ["killed"]
    finally:
        torc.write("go", "")
        runner.wait(timeout=60)


def test_t4_without_a_key_several_workflows_are_listed_and_refused(torc: Torc) -> None:
    for name in ("one", "two"):
        torc.create(f'name: {name}\njobs: [{{name: a, command: "true"}}]\n', f"{name}.yaml")
    done = torc("workflows", "restart")
    assert done.code == 1
    assert "there are 2 workflows: 1 one, 2 two" in done.err
    assert torc("workflows", "restart", "2").code == 0
    assert torc("-k", "2", "workflows", "restart").code == 0


def test_t5_jobs_are_listed_by_status(failing: Torc) -> None:
    assert failing("workflows", "reset-status", "--failed-only").code == 0
    assert failing("workflows", "restart").code == 0
    assert failing.statuses("status=ready") == {"bad": "ready", "worse": "ready"}
    done = failing("jobs", "list", "-f", "status=ready")
    assert [line.split()[1] for line in done.out.splitlines()] == ["name", "bad", "worse"]


def test_t6_scheduling_nodes_for_a_store_that_they_cannot_open_is_refused(failing: Torc) -> None:
    done = failing.shell("torc hpc slurm schedule-nodes -n2")
    assert done.code == 1
    assert "in a file, which runners on other hosts cannot share" in done.err
    done = failing.shell("torc hpc slurm schedule-nodes --scheduler none")
    assert done.code == 1
    assert "no scheduler 'none'" in done.err


def test_t7_a_changed_input_runs_exactly_what_it_affects(diamond: Torc) -> None:
    assert diamond.again() == set()
    diamond.write("left.txt", "altered\n")
    assert diamond.again() == {"bottom"}
    diamond.write("raw.csv", "c\nd\n")
    assert diamond.again() == {"top", "left", "right", "bottom"}
    assert diamond("workflows", "restart").code == 0
    assert diamond("jobs", "run").code == 0
    assert (diamond.folder / "last.txt").read_text() == "c\nd\nd\nc\n"
    assert diamond.again() == set()


@pytest.mark.parametrize("name", ["reset-status", "reset-job-status"])
def test_t8_resetting_what_failed(failing: Torc, name: str) -> None:
    assert failing("workflows", name, "--failed-only", "1").code == 0
    expected = {"good": "done", "bad": "uninitialized", "worse": "uninitialized", "below": "blocked"}
    assert failing.statuses() == expected
    assert failing("jobs", "run").code == 0
    assert failing.statuses() == expected, "nothing of it runs before a restart"
    failing.write("mended", "")
    assert failing("workflows", "restart").code == 0
    assert failing("jobs", "run").code == 0
    assert set(failing.statuses().values()) == {"done"}


def test_t9_resetting_jobs_by_key(failing: Torc) -> None:
    keys = failing.keys()
    assert failing("jobs", "reset-status", keys["bad"], keys["good"]).code == 0
    expected = {"good": "uninitialized", "bad": "uninitialized", "worse": "done", "below": "blocked"}
    assert failing.statuses() == expected
    assert failing("jobs", "reset-status", "999").code == 1


def test_t10_the_keys_of_results_pipe_into_the_reset(failing: Torc) -> None:
    line, keys = DOCUMENT[5][1], failing.keys()
    listing = line.partition("$(")[2].rstrip(")")
    assert failing.shell(listing).out.split() == [keys["bad"]]
    assert failing.shell(line).code == 0
    assert failing.statuses("status=uninitialized") == {"bad": "uninitialized"}


def test_t10_superseded_failure_resets_no_repaired_job(failing: Torc) -> None:
    failing("workflows", "reset-status", "--failed-only")
    failing.write("mended", "")
    failing("workflows", "restart")
    assert failing("jobs", "run").code == 0
    assert failing.json("results", "list", "-f", "return_code=1") == {"results": []}
    assert len(failing.json("results", "list", "-f", "return_code=1", "--all-runs")["results"]) == 1


def test_t11_only_uninitialized_jobs_are_released(failing: Torc) -> None:
    failing.write("mended", "")
    failing("jobs", "reset-status", "bad")
    failing("jobs", "reset-status", "worse")
    failing("workflows", "restart", "--only-uninitialized")
    assert failing.statuses() == {"good": "done", "bad": "ready", "worse": "ready", "below": "blocked"}


def test_t11_only_uninitialized_jobs_are_released_while_others_run(torc: Torc) -> None:
    torc.create(
        'name: busy\njobs:\n  - {name: runs, command: "touch began; until test -e go; do sleep 0.05; done"}\n'
        '  - {name: bad, command: "test -e go"}\n  - {name: killed, command: "test -e go || kill -9 $$"}\n'
    )
    runner = subprocess.Popen(["torc", "jobs", "run", "-j", "3"], cwd=torc.folder)
    try:
        wait_for(torc.folder / "began")
        wait_until(lambda: {*torc.statuses().values()} == {"submitted", "done", "terminated"})
        assert torc("jobs", "reset-status", "bad").code == 0
        document = torc.json("workflows", "restart", "--only-uninitialized")
        assert [job["name"] for job in document["jobs"]] == ["bad"]
    finally:
        torc.write("go", "")
        runner.wait(timeout=60)
    torc("jobs", "run")
    assert torc.statuses() == {"runs": "done", "bad": "done", "killed": "terminated"}


def test_t12_timed_out_job_is_restarted_with_its_cause(torc: Torc) -> None:
    torc.create(
        "name: slow\nresource_requirements: [{name: brief, runtime: PT0.2S}]\n"
        "jobs: [{name: sleeps, command: sleep 60, resource_requirements: brief}]\n"
    )
    assert torc("jobs", "run").code == 2
    assert [one["cause"] for one in torc.json("results", "list")["results"]] == ["timeout"]
    (job,) = torc.json("workflows", "restart", "--dry-run")["jobs"]
    assert job["name"] == "sleeps"
    assert "timeout" in [reason.get("cause") for reason in job["reasons"]]
