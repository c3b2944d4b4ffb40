"""Plots and reports in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from served import NARROW, WIDE, ServedProject, Visitor

SPEC = """
name: pipe & line
jobs:
  cut: {matrix: {i: {range: [0, 3]}}, run: "sleep 0.1"}
  fit:
    matrix: {i: {range: [0, 3]}}
    needs: ["cut[i=${matrix.i}]"]
    run: "echo '<script>alert(1)</script> ${matrix.i}' >&2; test ${matrix.i} -ne 1"
  join: {needs: ["fit*"], when: finished, run: "sleep 0.1"}
"""


@pytest.fixture
def ran(project: ServedProject) -> ServedProject:
    """A project whose workflow has ended, with a failure and a rerun."""
    project.spec(SPEC)
    project.run("run", "spec.yaml")
    project.rekindle("rerun", "-s", "failed", "--yes", "--work", "--note", "once <more>", expect=2)
    return project


def test_plots_show_outcomes_groups_and_what_ran_where(ran: ServedProject, visitor: Visitor) -> None:
    ran.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1/plots")
    expect(page.get_by_role("img", name="Attempts that ended over time")).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("7 completed")
    expect(page.locator(".legend")).to_contain_text("2 exit")
    expect(page.get_by_text("fit · 2")).to_have_count(2)
    path = page.locator("section", has=page.get_by_role("heading", name="Critical path"))
    expect(path.get_by_role("link", name="join")).to_have_attribute("href", re.compile("/jobs/"))
    assert page.locator("rect.critical").count() == 3
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_plots_of_a_workflow_that_never_ran(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "true"}}}')
    project.rekindle("submit", "spec.yaml")
    project.serve()
    visitor.log_in()
    expect(visitor.open("/workflows/1/plots").get_by_text("Nothing has started yet.")).to_be_visible()
    page = visitor.open("/workflows/2/plots")
    expect(page.get_by_role("alert")).to_contain_text("no such workflow: 2")


def test_a_report_is_one_file_without_scripts(ran: ServedProject, visitor: Visitor) -> None:
    said = ran.ask("report", "pipe & line", "-o", "out.html")
    text = (ran.folder / "out.html").read_text()
    assert said == {"report": "out.html", "bytes": len(text.encode())}
    assert not re.search(r"<script|<link|\ssrc=|https?://(?!www\.w3\.org)", text)
    requests: list[str] = []
    visitor.page.on("request", lambda request: requests.append(request.url))
    visitor.page.goto((ran.folder / "out.html").as_uri())
    assert len(requests) == 1
    expect(visitor.page.get_by_text("once <more>")).to_be_visible()
    expect(visitor.page.get_by_text("<script>alert(1)</script> 1").first).to_be_visible()
    expect(visitor.page.get_by_role("region", name="Jobs").get_by_role("row")).to_have_count(8)
    visitor.page.get_by_role("link", name="fit[i=1]: failed").click()
    expect(visitor.page.locator("tr:target")).to_contain_text("fit[i=1]")
    assert visitor.serious() == []


def test_a_report_that_cannot_be_written_leaves_nothing(ran: ServedProject) -> None:
    (ran.folder / "full").mkdir()
    for words, code in ((("1", "-o", "none/out.html"), 1), (("9", "-o", "out.html"), 1), (("1",), 64)):
        done = ran.run("report", *words)
        assert done.returncode == code, done.stderr
    assert [path.name for path in Path(ran.folder).iterdir() if "html" in path.name] == []
