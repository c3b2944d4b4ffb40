"""What need not run, in a browser: attempts that were reused or pruned, forecasts, and compared workflows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect
from served import ServedProject, Visitor

expect.set_options(timeout=60_000)

SPEC = """
name: sweep
params: {alpha: 1}
jobs:
  make: {run: "cp raw.txt data.txt; echo ${params.alpha}", inputs: {raw: raw.txt}, outputs: {data: data.txt}}
  count: {run: "wc -l < data.txt > n.txt", inputs: {data: data.txt}, outputs: {n: n.txt}}
  unknown: {run: "exit 3", on_unknown_failure: hold}
"""


@pytest.fixture
def reused(project: ServedProject) -> ServedProject:
    """Two workflows: `count` of the second one is completed by the attempt of the first."""
    project.write("raw.txt", "1\n")
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml", "-j", "1", expect=2)
    project.rekindle("run", "spec.yaml", "-j", "1", "--as", "other", "--param", "alpha=2", expect=2)
    return project


def newest(project: ServedProject, workflow: str, job: str) -> dict[str, Any]:
    """Return the newest attempt of a job."""
    return max(project.attempts("-w", workflow, job), key=lambda one: int(one["number"]))


def test_a_reused_attempt_links_to_the_one_that_ran(reused: ServedProject, visitor: Visitor) -> None:
    ran, done = newest(reused, "sweep", "count"), newest(reused, "other", "count")
    assert done["reused_from"] == ran["id"]
    reused.serve()
    visitor.log_in()
    page = visitor.open(f"/jobs/{done['job']}")
    text = f"reused from attempt {ran['id']} of sweep"
    for part in ("#part-job", "#part-job-attempts", "#part-job-attempt"):
        expect(page.locator(part).get_by_role("link", name=text).first).to_be_visible()
    assert visitor.serious() == []
    page.locator("#part-job").get_by_role("link", name=text).click()
    expect(page).to_have_url(re.compile(rf"/jobs/{ran['job']}\?attempt={ran['id']}"))


def test_a_pruned_attempt_says_so(reused: ServedProject, visitor: Visitor) -> None:
    first = newest(reused, "sweep", "make")
    reused.rekindle("rerun", "-w", "sweep", "make", "--yes", "--work", expect=0)
    reused.rekindle("prune", "-w", "sweep", "make", "--keep-last", "1", "--yes")
    reused.serve()
    visitor.log_in()
    page = visitor.open(f"/jobs/{first['job']}?attempt={first['id']}")
    expect(page.locator("#part-job-attempts")).to_contain_text("pruned by prune")
    expect(page.locator("#part-job-attempt")).to_contain_text("pruned by prune 1")


def test_where_two_workflows_part_is_linked_and_shown(reused: ServedProject, visitor: Visitor) -> None:
    reused.serve()
    visitor.log_in()
    page = visitor.open("/workflows/2")
    page.get_by_role("link", name="Compare…").click()
    page.get_by_role("combobox", name="Compare with").select_option("1")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("row", name="make")).to_contain_text("parameter alpha changed: 2 -> 1")
    assert visitor.serious() == []
    page.get_by_role("row", name="make").get_by_role("link", name="diff").click()
    expect(page.get_by_role("heading", name="What differs between two attempts")).to_be_visible()
    expect(visitor.open("/workflows/2/compare?with=2").get_by_role("alert")).to_contain_text("are both workflow 2")
    expect(visitor.open("/workflows/2/compare?with=none").get_by_role("alert")).to_contain_text("no such workflow")


def test_an_unfinished_workflow_has_a_forecast_and_held_failures(reused: ServedProject, visitor: Visitor) -> None:
    reused.rekindle("rerun", "-w", "sweep", "make", "--yes")
    reused.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    expect(page.locator(".forecast")).to_contain_text("2 jobs to run")
    expect(page.locator(".forecast")).to_contain_text("Done about")
    expect(page.locator("#part-workflow")).to_contain_text("1 failed job is held: unknown failure")
    page.get_by_text("The forecast, and the jobs that decide it").click()
    expect(page.locator(".forecast").get_by_role("link", name="count")).to_be_visible()
    assert visitor.serious() == []
