"""The list of workflows in a browser."""

from __future__ import annotations

from playwright.sync_api import expect
from served import NARROW, WIDE, ServedProject, Visitor

SPEC = """
name: sweep
project: alloys
jobs:
  train: {matrix: {k: {range: [0, 3]}}, run: "echo '<b>bold</b> is wrong' >&2; exit 3"}
  gated: {run: "while ! [ -e go ]; do sleep 0.02; done"}
"""


def test_progress_is_live_without_reload(project: ServedProject, visitor: Visitor) -> None:
    project.spec(SPEC)
    project.serve("--work", "-j", "4")
    page = visitor.log_in()
    expect(page.get_by_text("No workflow is here")).to_be_visible()
    page.evaluate("window.loadedOnce = true")
    project.rekindle("submit", "spec.yaml")
    row = page.locator("#workflow-1")
    expect(row).to_contain_text("3 failed")
    expect(row).to_contain_text("1 running")
    expect(row).to_contain_text("<b>bold</b> is wrong")
    (project.folder / "go").touch()
    expect(row).to_contain_text("1 completed")
    assert page.evaluate("window.loadedOnce")


def test_a_runner_is_missed_and_started_from_the_page(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "true"}}}')
    project.rekindle("submit", "spec.yaml")
    project.serve()
    page = visitor.log_in()
    expect(page.get_by_text("No runner is alive.")).to_be_visible()
    assert page.get_by_role("button", name="Start a runner").count() == 0


def test_failures_in_quarantine_are_marked_in_the_list_and_on_the_page(
    project: ServedProject, visitor: Visitor
) -> None:
    known = "quarantine: {until: 2999-12-31, why: slow <b> machines}"
    project.spec(f"name: a\njobs:\n  b: {{run: 'exit 1', {known}}}\n  c: {{run: 'true', needs: [b]}}\n")
    project.rekindle("run", "spec.yaml")
    project.serve()
    page = visitor.log_in()
    expect(page.locator("#workflow-1")).to_contain_text("1 in quarantine")
    page.get_by_role("link", name="a", exact=True).click()
    expect(page.get_by_text("In quarantine: 1 failed job of b, until 2999-12-31: slow <b> machines.")).to_be_visible()
    expect(page.get_by_text("1 job does not start, because it needs a job that failed.")).to_be_visible()


def test_search_finds_names_projects_and_labels(project: ServedProject, visitor: Visitor) -> None:
    for name in ("alpha", "beta"):
        job = f'{{run: "true", labels: {{team: "of {name} & <b>"}}}}'
        project.spec(f"{{name: {name}, project: lab-{name}, jobs: {{a: {job}}}}}")
        project.rekindle("submit", "spec.yaml")
    project.serve()
    page = visitor.log_in()
    page.keyboard.press("/")
    page.keyboard.type("lab-b")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("link", name="beta", exact=True)).to_be_visible()
    visitor.open("/")
    page.get_by_role("link", name="team=of alpha & <b>").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("link", name="alpha", exact=True)).to_be_visible()


def test_pages_are_accessible_at_both_widths(project: ServedProject, visitor: Visitor) -> None:
    project.spec(SPEC)
    project.write("go", "")
    project.run("run", "spec.yaml")
    project.serve()
    visitor.open("/")
    assert visitor.serious() == []
    page = visitor.log_in()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
