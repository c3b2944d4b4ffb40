"""The rerun dialog in a browser: what it plans is what is applied, and can be taken back."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect
from served import NARROW, WIDE, ServedProject, Visitor

from project_folder import until

SPEC = """
name: sweep
params: {alpha: 0.1}
jobs:
  prepare: {run: "echo x > data.txt", outputs: {data: data.txt}}
  train:
    matrix: {k: {range: [0, 3]}}
    needs: [prepare]
    steps:
      - {name: load, run: "true"}
      - {name: fit, run: "test -e mended || { echo 'ValueError: <img src=x onerror=alert(1)>' >&2; exit 3; }"}
  report: {needs: ["train*"], run: "true"}
"""


def failed(project: ServedProject) -> None:
    """Run the sweep: its three `train` jobs fail."""
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)


def open_dialog(page: Page) -> None:
    """Open the dialog for all failed jobs, by the menu of a right click on the workflow."""
    page.locator("#workflow-1").click(button="right")
    page.get_by_role("menuitem", name="Rerun all failed jobs").click()
    expect(page.locator("#rerun-apply")).to_be_visible()


def states(project: ServedProject) -> dict[int, str]:
    return {job["id"]: job["state"] for job in project.ask("jobs", "list")["jobs"]}


def store_rows(project: ServedProject) -> list[object]:
    return [project.ask(*words) for words in (("jobs", "list"), ("reruns", "list"), ("attempts", "list"))]


def test_a_rerun_is_planned_applied_and_undone_by_its_bar(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    open_dialog(page)
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("4 jobs run again: 3 selected, 1 downstream")
    expect(plan.get_by_role("row", name="train[*] ×3")).to_contain_text("fit")
    page.get_by_role("textbox", name="Note").fill("the disk was full")
    page.locator("#rerun-apply").click()
    bar = page.locator(".undo-bar")
    expect(bar).to_contain_text("Rerun 1: 4 jobs run again.")
    assert states(project) == {1: "completed", 2: "ready", 3: "ready", 4: "ready", 5: "waiting"}
    shown = project.ask("reruns", "show", "1")
    assert (shown["by"], shown["note"]) == ("console", "the disk was full")
    bar.get_by_role("button", name="Undo").click()
    expect(bar).to_contain_text("Rerun 1 is undone: 4 jobs back: 1 waiting, 3 failed.")
    assert states(project) == {1: "completed", 2: "failed", 3: "failed", 4: "failed", 5: "waiting"}


def test_a_plan_that_a_job_has_outrun_is_redrawn_with_marks(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    open_dialog(page)
    project.rekindle("rerun", "3", "--yes")
    page.locator("#rerun-apply").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was applied: the plan has changed")
    expect(page.locator(".moved-removed")).to_contain_text("train[k=1]")
    expect(page.locator("tr.moved-changed")).to_contain_text("report")
    assert [one["rerun"] for one in project.ask("reruns", "list")["reruns"]] == [1], "nothing is applied"
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 2: 3 jobs run again.")


def test_options_redraw_the_plan(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    open_dialog(page)
    plan = page.locator("#rerun-plan")
    said = page.locator("#rerun-said")
    expect(said).to_have_text("4 jobs run again: 3 selected, 1 downstream")
    page.get_by_label("Mode for all").select_option("beginning")
    expect(plan.get_by_role("row", name="train[*] ×3")).to_contain_text("beginning")
    page.get_by_text("Change parameters").click()
    page.get_by_label("Parameters").fill("alpha=0.2")
    expect(plan).to_contain_text("alpha 0.1 -> 0.2 (3 jobs)")
    page.get_by_label("Parameters").fill("beta=1")
    expect(plan).to_contain_text("its workflow has no parameter `beta`")
    expect(page.locator("#rerun-apply")).to_be_disabled()
    page.get_by_label("Parameters").fill("no value")
    expect(plan.get_by_role("alert")).to_contain_text("NAME=VALUE")


def test_a_refusal_is_shown_and_a_mode_that_is_not_possible_cannot_be_chosen(
    project: ServedProject, visitor: Visitor
) -> None:
    failed(project)
    project.rekindle("hold", "4")
    project.serve()
    page = visitor.log_in()
    page.evaluate("rekindle.rerun('plus=2,4')")
    plan = page.locator("#rerun-plan")
    expect(plan.locator(".plan-refused")).to_contain_text("it is held; release it first")
    expect(plan).to_contain_text("2 jobs run again: 1 selected, 1 downstream; 1 refused")
    page.keyboard.press("Escape")
    page.evaluate("rekindle.rerun(new URLSearchParams({plus: '1,2'}))")
    page.get_by_text("A mode for each job").click()
    never = page.get_by_role("combobox", name="prepare").locator("option", has_text="From the failed step")
    expect(never).to_be_disabled()
    expect(never).to_contain_text("every step of it completed")
    expect(
        page.get_by_role("combobox", name="train[k=0]").locator("option", has_text="From the failed step")
    ).to_be_enabled()


def test_undo_by_key_names_the_rerun_and_refuses_once_a_job_has_started(
    project: ServedProject, visitor: Visitor
) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    page.keyboard.press("u")
    expect(page.get_by_role("dialog")).to_contain_text("There is no rerun to undo.")
    page.keyboard.press("Escape")
    project.rekindle("rerun", "2", "--yes", "--note", "again")
    page.keyboard.press("u")
    expect(page.get_by_role("dialog")).to_contain_text("Undo rerun 1?")
    expect(page.get_by_role("dialog")).to_contain_text("again")
    page.keyboard.press("Enter")
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1 is undone")
    page.keyboard.press("u")
    expect(page.get_by_role("dialog")).to_contain_text("There is no rerun to undo.")
    page.keyboard.press("Escape")
    project.rekindle("rerun", "2", "--yes", "--work", expect=2)
    page.keyboard.press("u")
    expect(page.get_by_role("alert")).to_contain_text("`train[k=0]` has started since the rerun")
    expect(page.get_by_role("button", name="Undo rerun 2")).to_be_disabled()


def test_a_bar_that_is_too_late_says_which_job_has_started(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    open_dialog(page)
    page.locator("#rerun-apply").click()
    undo = page.locator(".undo-bar").get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    project.rekindle("work", expect=2)
    undo.click()
    expect(page.locator(".undo-bar")).to_contain_text(re.compile("Rerun 1 is not undone: `train.* have started"))


def test_the_dialog_works_by_keyboard_alone(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    page.locator("#job-2").focus()
    for key in (" ", "ArrowDown", " ", "r"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Rerun 2 jobs")).to_be_visible()
    expect(page.get_by_label("Mode for all")).to_be_focused()
    expect(page.locator("#rerun-plan")).to_contain_text("3 jobs run again")
    page.get_by_role("textbox", name="Note").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1: 3 jobs run again.")
    expect(page.locator("#job-3")).to_be_focused()
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_token_without_the_scope_rerun_previews_only(project: ServedProject, browser: Browser) -> None:
    failed(project)
    project.serve()
    token, before = project.token("read", "guest"), store_rows(project)
    visitor = Visitor(browser, project)
    page = visitor.open("/")
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.locator("#workflow-1").click(button="right")
    page.get_by_role("menuitem", name="Rerun all failed jobs").click()
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("4 jobs run again")
    expect(plan.get_by_role("button", name="Apply")).to_be_disabled()
    expect(plan).to_contain_text("Your token does not have the scope rerun.")
    page.get_by_text("Change parameters").click()
    expect(page.get_by_label("Parameters")).to_be_disabled()
    expect(page.locator("#set-about")).to_contain_text("it is as powerful as a shell")
    answer = page.evaluate(
        """async () => (await fetch("/rerun/apply", {method: "POST",
        body: new URLSearchParams(new FormData(document.getElementById("rerun-form")))})).status"""
    )
    refused = page.evaluate(
        """async () => (await fetch("/rerun/plan", {method: "POST",
        body: new URLSearchParams({selection: "plus=2", set: "alpha=1"})})).status"""
    )
    assert (answer, refused) == (403, 403)
    assert store_rows(project) == before
    visitor.close()
    assert visitor.problems == []


def test_a_read_only_server_disables_what_changes_something(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.rekindle("rerun", "2", "--yes")
    project.serve("--read-only")
    page = visitor.log_in()
    page.keyboard.press("u")
    expect(page.get_by_role("dialog")).to_contain_text("This server is read-only.")
    expect(page.get_by_role("button", name="Undo", exact=True)).to_be_disabled()


def test_the_dialog_is_accessible_at_both_widths_and_themes(project: ServedProject, visitor: Visitor) -> None:
    failed(project)
    project.serve()
    page = visitor.log_in()
    open_dialog(page)
    for summary in ("What the modes do", "A mode for each job", "Change parameters"):
        page.get_by_text(summary).click()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate("document.querySelector('dialog[open]').scrollWidth <= window.innerWidth")


def test_a_running_job_is_refused_and_canceled_first_if_asked(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "while ! [ -e go ]; do sleep 0.02; done"}}}')
    project.serve("--work")
    project.rekindle("submit", "spec.yaml")
    until(lambda: states(project) == {1: "running"}, "it runs")
    page = visitor.log_in()
    page.evaluate("rekindle.rerun('plus=1')")
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("it is running; cancel it first: tick “cancel running jobs first”")
    page.get_by_label("cancel running jobs first").check()
    expect(plan).to_contain_text("1 job runs again")
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1")
    (project.folder / "go").touch()
    until(lambda: states(project) == {1: "completed"}, "it has run again")
    assert [one["state"] for one in project.ask("attempts", "list")["attempts"]] == ["canceled", "completed"]


def test_what_runs_without_a_runner_is_reattached(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "while ! [ -e go ]; do sleep 0.02; done"}, b: {run: "exit 1"}}}')
    project.rekindle("submit", "spec.yaml")
    runner = project.start("work")
    until(lambda: states(project) == {1: "running", 2: "failed"}, "both have started")
    runner.kill()
    runner.wait()
    project.serve()
    page = visitor.log_in()
    page.evaluate("rekindle.rerun('plus=1,2')")
    page.get_by_text("A mode for each job").click()
    page.get_by_role("combobox", name="a", exact=True).select_option("reattach")
    plan = page.locator("#rerun-plan")
    expect(plan.locator("li", has_text="runs on")).to_contain_text("a")
    expect(plan).to_contain_text("1 job runs again")
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1: 1 job runs again.")
    expect(page.locator(".undo-bar")).to_contain_text("a: runs on.")
    (project.folder / "go").touch()
    project.rekindle("work", expect=2)
    attempts = project.ask("attempts", "list")["attempts"]
    assert [(one["job"], one["state"]) for one in attempts] == [(1, "completed"), (2, "failed"), (2, "failed")]


def test_more_than_two_hundred_jobs_have_one_mode_and_a_bounded_plan(project: ServedProject, visitor: Visitor) -> None:
    project.spec("{name: many, jobs: {one: {matrix: {k: {range: [0, 260]}}, run: 'exit 1'}, two: {run: 'exit 2'}}}")
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    page.get_by_role("button", name="Rerun all failed…").click()
    expect(page.get_by_role("heading", name="Rerun 261 jobs")).to_be_visible()
    expect(page.get_by_text("A mode for each job")).to_have_count(0)
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("261 jobs run again")
    expect(plan.locator("tbody tr")).to_have_count(2)
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.locator("#job-1 td.pick").click()
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Rerun 260 jobs")).to_be_visible()
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1: 260 jobs run again.")
    assert [job for job, state in states(project).items() if state == "failed"] == [1]
