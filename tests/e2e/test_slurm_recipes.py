"""The lines about Slurm in the documents of torc and FireWorks, on a real Slurm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from project_folder import Project, until
from rekindle.store.opening import open_store
from slurm_cluster import Slurm
from stores import new_store_url

TORC = """\
name: recipe
files: [{name: data, path: data.txt}, {name: clean, path: clean.txt}]
slurm_schedulers: [{name: std, partition: main, nodes: 1, walltime: "00:10:00", extra: "--comment=recipe"}]
jobs:
  - {name: clean, command: "grep -v wrong ${files.input.data} > ${files.output.clean}"}
  - {name: use, command: "cp ${files.input.clean} used.txt; echo $SLURM_JOB_ID >> nodes.txt"}
  - {name: bug, command: "test -e fixed || exit 3"}
"""


@pytest.fixture
def project(tmp_path: Path, slurm: Slurm, postgres_server: str) -> Iterator[Project]:
    with closing(open_store(new_store_url(postgres_server, tmp_path / ".rekindle"), create=True)):
        pass
    made = Project(tmp_path)
    made.env |= {name: slurm.environment[name] for name in ("SLURM_CONF", "PATH")}
    yield made
    made.run("slurm", "cancel")
    made.close()
    assert made.ask("store", "check", "--deep")["sound"]


def torc(project: Project, *words: str) -> Any:
    return json.loads(project.rekindle("torc", "-F", "json", *words).stdout)


ADAPTER = """\
_fw_name: CommonAdapter
_fw_q_type: SLURM
rocket_launch: rlaunch -s singleshot
nodes: 1
walltime: "00:05:00"
queue: main
account: null
cpus_per_task: 1
pre_rocket: export FROM_ADAPTER=yes
"""


def states(project: Project) -> dict[int, str]:
    """Return the states by id."""
    return {job["id"]: job["state"] for job in project.ask("jobs", "list")["jobs"]}


def ended(project: Project) -> bool:
    """Return whether no pilot of the store is left."""
    return all(one["phase"] == "ended" for row in project.ask("slurm", "list")["submissions"] for one in row["seen"])


def test_torc_s_recipe_ends_with_the_workflow_completed(project: Project) -> None:
    project.write("workflow.yaml", TORC)
    project.write("data.txt", "wrong\n")
    torc(project, "workflows", "create", "workflow.yaml")
    scheduled = torc(project, "hpc", "slurm", "schedule-nodes", "-n2")
    assert scheduled["num_hpc_jobs"] == 2
    until(lambda: project.states() == {"clean": "failed", "use": "waiting", "bug": "failed"}, "the jobs fail")
    until(lambda: ended(project), "the Slurm jobs end")

    # "With job dependencies": the data are mended.
    project.write("data.txt", "right\n")
    project.rekindle("torc", "workflows", "restart")
    ready = torc(project, "jobs", "list", "-f", "status=ready")["jobs"]
    assert [job["name"] for job in ready] == ["clean"]
    project.rekindle("torc", "hpc", "slurm", "schedule-nodes", "-n1", "-s", "std", "-m", "2")
    until(lambda: project.states() == {"clean": "completed", "use": "completed", "bug": "failed"}, "they run")
    until(lambda: ended(project), "the Slurm job ends")

    # "Without job dependencies": the code is mended.
    project.write("fixed", "")
    project.rekindle("torc", "workflows", "reset-job-status", "--failed-only", "1")
    project.rekindle("torc", "workflows", "restart")
    project.rekindle("torc", "hpc", "slurm", "schedule-nodes", "-n1")
    until(lambda: set(project.states().values()) == {"completed"}, "the workflow is completed")
    assert (project.folder / "used.txt").read_text() == "right\n"
    assert all(line.isdecimal() for line in project.ran("nodes.txt"))
    until(lambda: ended(project), "the Slurm job ends")


def test_fireworks_are_launched_in_the_queue(project: Project) -> None:
    script = "echo $FROM_ADAPTER $SLURM_JOB_ID >> ran.txt".replace("ran.txt", str(project.folder / "ran.txt"))
    project.write("fw.yaml", f"spec: {{_tasks: [{{_fw_name: ScriptTask, script: '{script}'}}]}}\n")
    for _ in range(5):
        project.rekindle("lpad", "add", "fw.yaml")
    project.write("my_qadapter.yaml", ADAPTER)
    done = project.rekindle("qlaunch", "singleshot", "-f", "3")
    assert done.stdout.startswith("Launched 1 job in the queue, with the id ")
    until(lambda: states(project)[3] == "completed", "3 is launched")
    assert list(states(project).values()).count("ready") == 4
    until(lambda: ended(project), "its Slurm job ends")
    project.rekindle("qlaunch", "-r", "rapidfire", "-m", "2", "--sleep", "1", "--timeout", "60")
    until(lambda: set(states(project).values()) == {"completed"}, "all are launched")
    assert len(project.ran()) == len(set(project.ran())) == 5
    assert all(line.startswith("yes ") for line in project.ran())
    until(lambda: ended(project), "the Slurm jobs end")
    assert project.rekindle("qlaunch", "singleshot").stdout.startswith("No jobs exist in the LaunchPad")


def test_a_slurm_job_of_fireworks_is_canceled_by_its_id(project: Project) -> None:
    project.write("fw.yaml", "spec: {_tasks: [{_fw_name: ScriptTask, script: 'sleep 60'}]}\n")
    project.rekindle("lpad", "add", "fw.yaml")
    project.write("my_qadapter.yaml", ADAPTER)
    number = project.rekindle("qlaunch", "singleshot").stdout.split()[-1]
    until(lambda: set(project.states().values()) == {"running"}, "it runs")
    assert f"Canceled the Slurm job {number}" in project.rekindle("lpad", "cancel_qid", "--qid", number).stdout
    until(lambda: set(project.states().values()) == {"ready"}, "it is given back")
