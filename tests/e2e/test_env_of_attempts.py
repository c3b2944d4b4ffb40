"""Variables that tell a command which job and attempt it is."""

from __future__ import annotations


def test_a_variable_holds_the_ids_of_job_and_workflow_and_the_number_of_the_attempt(project):
    project.spec(
        "name: told\njobs:\n  x:\n    env: {TOLD: '${job.workflow} ${job.id} ${job.name} ${job.attempt}'}\n"
        "    run: 'echo $TOLD >> told'\n"
    )
    project.rekindle("run", "spec.yaml")
    project.rekindle("restart", "--yes")
    project.rekindle("rerun", "x", "--yes", "--work")
    first, second = (project.folder / "told").read_text().splitlines()
    workflow, job, name, number = first.split()
    assert (workflow, job.isdigit(), name, number) == ("1", True, "x", "1")
    assert second == f"{workflow} {job} x 2"
