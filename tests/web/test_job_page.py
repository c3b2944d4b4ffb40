"""The page of a job in a browser."""

from __future__ import annotations

import contextlib
import os
import threading
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect
from served import NARROW, WIDE, ServedProject, Visitor

from project_folder import until

expect.set_options(timeout=30_000)

FAILING = """
name: sweep
params: {alpha: 0.1}
jobs:
  make: {run: "cp raw.txt data.txt", inputs: {raw: raw.txt}, outputs: {data: data.txt}}
  train:
    run: "python3 -c 'raise ValueError(\\"too <b>cold</b>\\")' ${params.alpha}"
    needs: [make]
    env: {API_TOKEN: hush}
    resources: {memory: 512M}
  report: {run: "true", needs: [train]}
"""

ITEMS = """
name: slices
jobs:
  cut:
    steps:
      - {name: marshal, run: "true"}
      - name: process
        each: [a, b, c, d]
        run: "echo at ${item}; test ${item} != c || { echo bad ${item} >&2; exit 4; }"
"""


def run(project: ServedProject, spec: str) -> None:
    project.write("raw.txt", "1")
    project.spec(spec)
    project.run("run", "spec.yaml")


def open_job(project: ServedProject, visitor: Visitor, path: str) -> Page:
    if not project.url:
        project.serve()
        visitor.log_in()
    return visitor.open(path)


def test_a_failure_is_explained_with_its_error_and_logs(project: ServedProject, visitor: Visitor) -> None:
    run(project, FAILING)
    page = open_job(project, visitor, "/jobs/2")
    failure = page.get_by_label("Why it failed")
    expect(failure).to_contain_text("exit 1 in attempt 1, step run")
    expect(failure).to_contain_text("ValueError: too <b>cold</b>")
    expect(failure).to_contain_text("Traceback (most recent call last)")
    expect(page.locator("#why")).to_contain_text("failed: it runs again on request")
    expect(page.locator("#part-job-attempt")).to_contain_text("API_TOKEN***")
    expect(page.locator("#part-job-attempt")).to_contain_text("512.0 MiB")
    expect(page.locator("#part-job-adjacent")).to_contain_text("make ✓ completed")
    failure.get_by_role("link", name="stderr").click()
    expect(page.locator("#log")).to_contain_text("too <b>cold</b>")


def test_a_job_that_never_ran_says_why(project: ServedProject, visitor: Visitor) -> None:
    run(project, FAILING)
    page = open_job(project, visitor, "/jobs/3")
    expect(page.locator("#part-job")).to_contain_text("waits for train (failed: exit 1)")
    expect(page.locator("#part-job-attempts")).to_contain_text("It has not run yet.")
    expect(page.locator("#why")).to_contain_text("has not run yet")
    page.locator("#part-job").get_by_role("link", name="train").click()
    expect(page.get_by_role("heading", name="train", exact=True)).to_be_visible()


def test_what_is_stale_and_which_file_changed(project: ServedProject, visitor: Visitor) -> None:
    run(project, FAILING)
    page = open_job(project, visitor, "/jobs/1")
    expect(page.locator("#staleness")).to_have_text("current")
    expect(page.get_by_role("row", name="input raw")).to_contain_text("unchanged")
    project.write("raw.txt", "2")
    page.reload()
    expect(page.locator("#staleness")).to_have_text("stale: input")
    expect(page.locator("#why")).to_contain_text("input raw changed")
    expect(page.get_by_role("row", name="input raw")).to_contain_text("input raw changed")
    expect(page.get_by_role("row", name="output data")).to_contain_text("unchanged")


def test_files_are_read_for_a_limited_time(project: ServedProject, visitor: Visitor) -> None:
    run(project, FAILING)
    os.truncate(project.folder / "raw.txt", 200 << 30)
    page = open_job(project, visitor, "/jobs/1")
    expect(page.locator("#why")).to_contain_text("could not be compared within 5 s")
    expect(page.locator("#staleness")).to_have_text("not compared")
    expect(page.get_by_role("row", name="input raw")).to_be_visible()
    expect(page.get_by_role("button", name="Compare for up to 60 s")).to_be_visible()


def test_other_pages_are_answered_while_files_are_read(project: ServedProject) -> None:
    run(project, FAILING)
    os.truncate(project.folder / "raw.txt", 200 << 30)
    server = project.serve()
    token, answered = project.token("read"), []

    def get(path: str) -> None:
        request = urllib.request.Request(project.url + path, headers={"Authorization": f"Bearer {token}"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()
            answered.append(path)

    for _ in range(24):
        threading.Thread(target=get, args=("/jobs/1/why",), daemon=True).start()
    connections = psutil.Process(server.pid).net_connections
    until(
        lambda: sum(one.status == psutil.CONN_ESTABLISHED for one in connections()) >= 12,
        "more have asked than there are threads",
    )
    get("/")
    assert answered.count("/jobs/1/why") <= 6


def test_state_attempts_and_explanation_are_live(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "until [ -e go ]; do sleep 0.02; done", outputs: {o: go}}}}')
    project.rekindle("submit", "spec.yaml")
    project.serve()
    visitor.log_in()
    page = visitor.open("/jobs/1")
    expect(page.locator("#part-job")).to_contain_text("no runner is alive")
    page.evaluate("window.loadedOnce = true")
    project.start("work")
    expect(page.locator("#part-job")).to_contain_text("running")
    expect(page.locator("#part-job-attempts tbody tr")).to_have_count(1)
    expect(page.locator("#part-job-attempt")).to_contain_text("1 run ▶ running")
    expect(page.locator("#why")).to_contain_text("it is running")
    (project.folder / "go").touch()
    expect(page.locator("#part-job")).to_contain_text("completed")
    expect(page.locator("#why")).to_contain_text("current")
    expect(page.get_by_role("row", name="output o")).to_contain_text("unchanged")
    assert page.evaluate("window.loadedOnce")


def test_archived_attempts_stand_beside_the_live_one_and_are_compared(project: ServedProject, visitor: Visitor) -> None:
    project.spec(
        """
name: one
params: {alpha: 1}
jobs:
  a: {run: "echo alpha ${params.alpha}; test $REKINDLE_ATTEMPT -gt 1", retry: {max: 1, on: [exit]}}
"""
    )
    project.run("run", "spec.yaml")
    project.rekindle("rerun", "a", "--set", "alpha=2", "--yes", "--work")
    page = open_job(project, visitor, "/jobs/1")
    rows = page.locator("#part-job-attempts tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("live")
    expect(rows.nth(0)).to_contain_text("modified: alpha=2")
    expect(rows.nth(1)).to_contain_text("archived by rerun 2")
    expect(rows.nth(1)).to_contain_text("retry 1 of 1")
    expect(rows.nth(2)).to_contain_text("exit 1")
    expect(page.locator("#part-job-attempt")).to_contain_text("alpha2 modified by a rerun was 1")
    rows.nth(2).get_by_role("link", name="1", exact=True).click()
    expect(page.locator("#part-job-attempt")).to_contain_text("Attempt 1")
    expect(page.locator("#part-job-attempt")).to_contain_text("archived by rerun 1")
    page.get_by_label("Compare attempt").fill("2")
    page.get_by_label("with", exact=True).fill("3")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page).to_have_url(f"{project.url}/attempts/2/diff/3")
    expect(page.get_by_role("row", name="params.alpha 1 2", exact=True)).to_be_visible()
    logs = page.get_by_role("region", name="Logs")
    expect(logs).to_contain_text("run, stdout line 1")
    expect(logs).to_contain_text("alpha 2")
    assert visitor.serious() == []


def test_subtasks_are_listed_failed_ones_first(project: ServedProject, visitor: Visitor) -> None:
    run(project, ITEMS)
    page = open_job(project, visitor, "/jobs/1")
    expect(page.locator("#part-job")).to_contain_text("subtasks in attempt 1, step process")
    expect(page.locator("#part-job-attempts tbody tr")).to_contain_text("3/4 items")
    expect(page.get_by_role("link", name="3/4")).to_be_visible()
    items = page.get_by_role("region", name="Items").locator("tbody tr")
    expect(items).to_have_count(4)
    expect(items.nth(0)).to_contain_text("2c ✗ failed exit 4")
    items.nth(0).get_by_role("link", name="stderr").click()
    expect(page.locator("#log")).to_have_text("bad c\n")


def test_many_subtasks_are_in_pages(project: ServedProject, visitor: Visitor) -> None:
    run(project, "{name: many, jobs: {a: {steps: [{name: p, each: {run: seq 1 450}, run: 'true'}]}}}")
    page = open_job(project, visitor, "/jobs/1")
    items = page.get_by_role("region", name="Items").locator("tbody tr")
    expect(items).to_have_count(200)
    page.get_by_role("link", name="Next 200").click()
    page.get_by_role("link", name="Next 200").click()
    expect(items).to_have_count(50)
    page.get_by_role("link", name="Previous 200").click()
    expect(items.nth(0)).to_contain_text("201")


def test_results_and_dynamic_actions_are_shown(project: ServedProject, visitor: Visitor) -> None:
    project.write(
        "act.py",
        """
import json, os
open(os.environ["REKINDLE_RESULT"], "w").write(json.dumps({"score": 0.5, "env": {"MY_TOKEN": "hush"}}))
open(os.environ["REKINDLE_ACTION"], "w").write(json.dumps({"add": [{"name": "extra", "run": "true"}]}))
open(os.environ["REKINDLE_VERDICT"], "w").write("WARNING <i>odd</i>")
""",
    )
    run(project, "{name: one, jobs: {a: {run: python3 act.py}}}")
    page = open_job(project, visitor, "/jobs/1")
    expect(page.locator("#part-job")).to_contain_text("warning: <i>odd</i>")
    attempt = page.locator("#part-job-attempt")
    expect(attempt).to_contain_text('"score": 0.5')
    expect(attempt).to_contain_text("in force")
    assert "hush" not in page.content()
    attempt.get_by_role("link", name="extra").click()
    expect(page.get_by_role("heading", name="extra", exact=True)).to_be_visible()


def test_a_partial_output_is_named(project: ServedProject, visitor: Visitor) -> None:
    run(project, "{name: one, jobs: {a: {run: 'echo half > out.txt; exit 1', outputs: {o: out.txt}}}}")
    page = open_job(project, visitor, "/jobs/1")
    expect(page.locator("#file-list")).to_contain_text("partial: out.txt (5 bytes)")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProject]:
    """A server of a workflow in which a job has failed, for tests that only read."""
    made = ServedProject(tmp_path_factory.mktemp("failed"))
    run(made, FAILING)
    made.serve()
    yield made
    made.close()


@pytest.fixture(scope="module")
def logged_in(browser: Browser, failed: ServedProject) -> Iterator[Visitor]:
    made = Visitor(browser, failed)
    made.log_in()
    yield made
    made.close()
    assert made.problems == []


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/99",
        "/jobs/x",
        f"/jobs/{1 << 70}",
        "/jobs/1?attempt=99",
        "/jobs/2?attempt=1",
        "/attempts/99/diff/1",
        "/jobs/1/compare?a=1&b=9",
    ],
)
def test_what_is_not_there_has_a_page_that_says_so(logged_in: Visitor, path: str) -> None:
    answer = logged_in.page.goto(logged_in.project.url + path)
    assert answer is not None
    assert answer.status == 404
    expect(logged_in.page.get_by_role("heading", name="Not found")).to_be_visible()


def test_an_attempt_leads_to_its_job(logged_in: Visitor) -> None:
    page = logged_in.open("/attempts/2")
    expect(page).to_have_url(f"{logged_in.project.url}/jobs/2?attempt=2")


@pytest.mark.parametrize(("spec", "path"), [(FAILING, "/jobs/2"), (ITEMS, "/jobs/1"), (FAILING, "/jobs/3")])
def test_the_page_is_accessible_at_both_widths(project: ServedProject, visitor: Visitor, spec: str, path: str) -> None:
    run(project, spec)
    page = open_job(project, visitor, path)
    expect(page.locator("#why .why")).to_be_visible()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
