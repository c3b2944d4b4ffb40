"""torc's document on restarting a workflow, from top to bottom, with its lines beside the commands."""

from __future__ import annotations

import subprocess

from torc_folder import Torc, kill_runner, wait_for, wait_until

MORE = "until test -e more; do sleep 0.05; done"  # no job ends before the runner is killed
SPEC = f"""\
name: document
files: [{{name: data, path: data.txt}}, {{name: clean, path: clean.txt}}]
jobs:
  - {{name: memory, command: "touch began; {MORE}"}}
  - {{name: clean, command: "{MORE}; grep -v wrong ${{files.input.data}} > ${{files.output.clean}}"}}
  - {{name: use, command: "cp ${{files.input.clean}} used.txt"}}
  - {{name: bug1, command: "{MORE}; test -e fixed"}}
  - {{name: bug2, command: "{MORE}; test -e fixed"}}
  - {{name: bug3, command: "{MORE}; test -e fixed || exit 3"}}
"""
PIPE = "torc jobs reset-status $(torc -F json results list -f return_code=1 | jq -r '.results | .[] | .job_key')"


def test_the_document_from_top_to_bottom(torc: Torc) -> None:
    torc.write("data.txt", "wrong\n")
    torc.create(SPEC)
    # "the out-of-memory handler will terminate the process and possibly the torc worker application"
    # "The job status will still be submitted."
    kill_runner(torc, "began", "memory")

    # "Dry run": "torc workflows restart --dry-run"
    before = torc.json("results", "list", "--all-runs")
    assert torc.shell("torc workflows restart --dry-run").code == 0

    # "Restarting jobs that did not finish": "torc workflows restart"
    assert torc.shell("torc workflows restart").code == 0
    # "Check the status if you'd like": "torc jobs list -f status=ready"
    assert "memory" in torc.statuses("status=ready")
    assert len(torc.json("results", "list", "--all-runs")["results"]) >= len(before["results"])
    # "Schedule compute nodes to run those jobs": "torc hpc slurm schedule-nodes -nX"
    # Here nobody serves the store's file to other hosts; tests/e2e/test_slurm_recipes.py has a Slurm.
    scheduled = torc.shell("torc hpc slurm schedule-nodes -n2")
    assert (scheduled.code, "`rekindle serve`" in scheduled.err) == (1, True)
    torc.write("more", "")
    assert torc.shell("torc jobs run").code == 2
    failed = {"clean": "done", "bug1": "done", "bug2": "done", "bug3": "done"}
    assert torc.statuses() == {"memory": "done", "use": "canceled", **failed}

    # "With job dependencies": "You fixed those bugs. [...] then you can [do] the same steps above"
    torc.write("data.txt", "right\n")
    assert torc.shell("torc workflows restart").code == 0
    assert torc.statuses("status=ready") == {"clean": "ready"}
    assert torc.shell("torc jobs run").code == 0
    assert (torc.folder / "used.txt").read_text() == "right\n"

    # "Without job dependencies": "torc jobs reset-status KEY1 KEY2 ..."
    keys = torc.keys()
    assert torc.shell(f"torc jobs reset-status {keys['bug3']} {keys['bug2']} --dry-run").code == 0
    # "jobs with a non-zero return code": "torc workflows reset-job-status --failed-only <workflow_key>"
    assert torc.shell("torc workflows reset-job-status --failed-only --dry-run 1").code == 0
    # "some shell scripting": the keys of results with return_code=1
    assert torc.shell(PIPE).code == 0
    assert torc.statuses("status=uninitialized") == {"bug1": "uninitialized", "bug2": "uninitialized"}
    assert torc.shell("torc workflows reset-job-status --failed-only 1").code == 0
    # "just as described above, run torc workflows restart and torc hpc slurm schedule-nodes to rerun the jobs"
    torc.write("fixed", "")
    assert torc.shell("torc workflows restart").code == 0
    assert torc.shell("torc jobs run").code == 0
    assert set(torc.statuses().values()) == {"done"}
    assert {one["return_code"] for one in torc.json("results", "list")["results"]} == {0}


def test_only_uninitialized_jobs_are_restarted_while_others_run(torc: Torc) -> None:
    torc.create(
        'name: busy\njobs:\n  - {name: runs, command: "touch began; until test -e go; do sleep 0.05; done"}\n'
        '  - {name: reset, command: "test -e go"}\n'
    )
    runner = subprocess.Popen(["torc", "jobs", "run", "-j", "2"], cwd=torc.folder)
    try:
        wait_for(torc.folder / "began")
        wait_until(lambda: torc.statuses()["reset"] == "done")
        # "if you manually reset specific job statuses with torc jobs reset-status"
        assert torc("jobs", "reset-status", "reset").code == 0
        # "torc workflows restart --only-uninitialized": "particularly useful if some jobs are still running"
        document = torc.json("workflows", "restart", "--only-uninitialized")
        assert [job["name"] for job in document["jobs"]] == ["reset"]
        assert torc.statuses()["runs"] == "submitted"
    finally:
        torc.write("go", "")
        runner.wait(timeout=60)
