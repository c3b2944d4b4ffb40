"""What a job types or calls finds the job's store, whichever one is nearest to its folder."""

from __future__ import annotations

import json

import pytest

from project_folder import Project

CALLS = """\
import json
import rekindle


def names():
    with rekindle.Client() as client, open("called.json", "w") as file:
        json.dump({"jobs": [{"name": one.name} for one in client.jobs(client.select(all=True))]}, file)
"""
JOBS = """\
name: far
jobs:
  typed: {run: "rekindle jobs list --json > typed.json"}
  called: {call: "calls:names"}
  apart: {workdir: attempt, run: "rekindle jobs list --json > $REKINDLE_JOB_PROJECT/apart.json"}
  below: {run: "mkdir -p sub && cd sub && rekindle jobs list --json > ../below.json"}
  elsewhere: {run: "cd other && rekindle jobs list --json > ../elsewhere.json"}
  named: {run: "rekindle --store .rekindle jobs list --json > named.json"}
  chosen: {env: {REKINDLE_STORE: other/.rekindle}, run: "rekindle jobs list --json > chosen.json"}
"""
FAR = {"typed", "called", "apart", "below", "elsewhere", "named", "chosen"}
SEEN = {
    "typed": FAR,
    "called": FAR,
    "apart": FAR,
    "below": FAR,
    "elsewhere": {"of_other"},
    "named": {"of_near"},
    "chosen": {"of_other"},
}


@pytest.mark.parametrize("way", ["option", "variable", "overridden"])
def test_a_job_finds_the_store_that_it_is_in(project: Project, way: str) -> None:
    for folder, name in (("near", "near"), ("near/other", "other")):
        (project.folder / folder).mkdir()
        project.write(f"{folder}/spec.yaml", f"name: {name}\njobs: {{of_{name}: {{run: 'true'}}}}\n")
    near = project.folder / "near"
    project.write("near/far.yaml", JOBS)
    project.write("near/calls.py", CALLS)
    project.folder = near / "other"
    project.rekindle("--store", ".rekindle", "submit", "spec.yaml")
    project.folder = near
    project.rekindle("submit", "spec.yaml")
    option = () if way == "variable" else ("--store", "../far")
    project.env |= {"variable": {"REKINDLE_STORE": "../far"}, "overridden": {"REKINDLE_STORE": ".rekindle"}}.get(
        way, {}
    )
    project.rekindle(*option, "run", "far.yaml", "-j", "2")
    seen = {name: {one["name"] for one in json.loads((near / f"{name}.json").read_text())["jobs"]} for name in SEEN}
    assert seen == (SEEN if way == "option" else SEEN | {"elsewhere": FAR})


def test_the_nearest_store_counts_once_that_of_the_job_has_been_moved(project: Project) -> None:
    project.spec("name: near\njobs: {x: {run: 'true'}}\n")
    project.rekindle("submit", "spec.yaml")
    gone = {"REKINDLE_JOB_STORE": str(project.folder / "gone"), "REKINDLE_JOB_PROJECT": str(project.folder)}
    project.env |= gone
    assert set(project.states()) == {"x"}
