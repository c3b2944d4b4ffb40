"""The graph of a workflow in the console."""

from __future__ import annotations

from playwright.sync_api import expect
from served import NARROW, WIDE, ServedProject, Visitor

SPEC = """
name: line
jobs:
  cut: {matrix: {i: {range: [0, 3]}}, run: "while ! [ -e go ]; do sleep 0.02; done; test ${matrix.i} -ne 1"}
  fit: {matrix: {i: {range: [0, 3]}}, needs: ["cut[i=${matrix.i}]"], run: "true"}
"""


def test_states_change_in_the_drawing_without_reload(project: ServedProject, visitor: Visitor) -> None:
    project.spec(SPEC)
    project.rekindle("submit", "spec.yaml")
    project.serve("--work", "-j", "3")
    visitor.log_in()
    page = visitor.open("/workflows/1/graph")
    page.evaluate("window.loadedOnce = true")
    drawing = page.get_by_role("region", name="Graph of line")
    expect(drawing.locator(".state-running")).to_have_count(3)
    (project.folder / "go").touch()
    expect(drawing.locator(".state-completed")).to_have_count(4)
    expect(drawing.locator(".state-failed")).to_have_count(1)
    expect(drawing.locator("[data-node].failed-path")).to_have_count(2)
    assert page.evaluate("window.loadedOnce")
    expect(page.locator("#graph-outdated")).to_be_hidden()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert visitor.serious() == []
    drawing.get_by_role("link", name="cut[i=1]: failed").click()
    assert page.url.endswith("/jobs/2")


def test_groups_open_and_close_and_a_new_revision_is_announced(project: ServedProject, visitor: Visitor) -> None:
    project.write("go", "")
    project.spec(SPEC)
    project.run("run", "spec.yaml")
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1/graph?groups=1")
    expect(page.locator("[data-node]")).to_have_count(2)
    page.get_by_role("link", name="cut").first.click()
    expect(page.locator("[data-node]")).to_have_count(4)
    page.get_by_role("link", name="Collapse cut").click()
    expect(page.locator("[data-node]")).to_have_count(2)
    project.spec(SPEC + "  end: {needs: ['fit*'], run: 'true'}\n")
    project.rekindle("submit", "spec.yaml")
    page.get_by_role("link", name="Draw it again").click()
    expect(page.locator("[data-node]")).to_have_count(3)


def test_a_wrong_address_of_a_graph_is_explained(project: ServedProject, visitor: Visitor) -> None:
    project.spec(SPEC)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    visitor.log_in()
    expect(visitor.open("/workflows/1/graph?expand=cut").get_by_role("alert")).to_contain_text("expand=")
    expect(visitor.open("/workflows/9/graph").get_by_role("alert")).to_contain_text("no such workflow")
