"""The pages about reruns, failures, flaky jobs, supervision and new runs."""

from __future__ import annotations

from playwright.sync_api import Route, expect
from served import NARROW, WIDE, ServedProject, Visitor

from project_folder import until
from rekindle.engine.queries import workflow_queries
from rekindle.engine.session import open_session

HOSTILE = """
name: sweep
params: {alpha: 0.1, name: one}
jobs:
  train:
    matrix: {k: {range: [0, 3]}}
    run: "test -e mended || { echo 'ValueError: </pre><script>alert(1)</script> \\e[31m' >&2; exit 3; }"
  other: {run: "exit 4"}
"""
FLAKY = """
name: nightly
jobs:
  odd: {run: "test ! -e $REKINDLE_JOB.1 && touch $REKINDLE_JOB.1 && exit 1; rm $REKINDLE_JOB.1"}
  never: {run: "exit 2"}
"""


def test_the_history_shows_who_asked_and_what_became_of_it(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", expect=2)
    project.rekindle("rerun", "2", "--yes", "--note", "from the shell")
    project.serve()
    visitor.log_in()
    page = visitor.open("/")
    page.evaluate("rekindle.rerun('plus=4')")
    page.locator("#rerun-apply").click()
    page.locator(".undo-bar").get_by_role("link", name="Rerun 2").click()
    facts = page.locator("#part-rerun")
    expect(facts).to_contain_text("by console")
    expect(facts).to_contain_text("ready 1")
    page.goto(project.url + "/workflows/1/reruns")
    rows = page.locator("#part-reruns tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("console")
    expect(rows.nth(1)).to_contain_text("from the shell")
    (project.folder / "mended").touch()
    project.rekindle("work", expect=2)
    page.goto(project.url + "/reruns/2")
    expect(page.locator("#part-rerun")).to_contain_text("failed 1")
    expect(page.get_by_role("button", name="Undo…")).to_be_disabled()
    expect(page.locator("#undo-no")).to_contain_text("`other` has started since the rerun")


def test_the_history_is_live_and_undone_from_its_page(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", expect=2)
    project.serve()
    visitor.log_in()
    page = visitor.open("/reruns")
    expect(page.get_by_text("Nothing has been rerun yet.")).to_be_visible()
    project.rekindle("rerun", "2", "--yes")
    row = page.locator("#rerun-1")
    row.get_by_role("button", name="Undo…").click()
    page.get_by_role("button", name="Undo rerun 1").click()
    expect(row).to_contain_text("undone")
    undone = [one for one in project.ask("events", "list")["events"] if one["kind"] == "undone"]
    assert [one["detail"]["by"] for one in undone] == ["console"]


def test_a_failure_group_of_a_hostile_error_runs_again_with_a_canary(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", expect=2)
    project.serve()
    visitor.log_in()
    page = visitor.open("/failures?workflow=1")
    groups = page.locator("section.failure")
    expect(groups).to_have_count(2)
    expect(groups.first).to_contain_text("3× ValueError: </pre><script>alert(1)</script>")
    groups.first.get_by_text("Newest example").click()
    expect(groups.first.locator("pre")).to_contain_text("<script>alert(1)</script>")
    project.rekindle("rerun", "other", "--yes")
    expect(groups).to_have_count(1)
    expect(groups.first.locator("pre")).to_be_visible()  # a live change leaves open what is open
    groups.first.get_by_role("button", name="With a canary…").click()
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("1 job runs again")
    expect(plan).to_contain_text("runs first, and 2 more")
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 2: 1 job runs again, 2 wait for canaries.")
    (project.folder / "mended").touch()
    project.rekindle("work", expect=2)
    states = {job["name"]: job["state"] for job in project.ask("jobs", "list")["jobs"]}
    assert states == {**{f"train[k={k}]": "completed" for k in range(3)}, "other": "failed"}


def test_flaky_jobs_are_shown_with_their_history(project: ServedProject, visitor: Visitor) -> None:
    project.spec(FLAKY)
    project.rekindle("run", "spec.yaml", expect=2)
    project.rekindle("rerun", "odd", "--repeat", "5", "--yes", "--work")
    project.serve()
    visitor.log_in()
    page = visitor.open("/flaky?workflow=1")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("3 of 6")
    expect(rows).to_contain_text("50 % (19 to 81 %)")
    strip = page.get_by_role("img", name="6 attempts, oldest first: 3 completed, 3 failed")
    expect(strip.locator("rect.fill-failed")).to_have_count(3)


def test_a_supervisor_is_started_watched_and_stopped(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: gate, jobs: {a: {run: "while ! [ -e go ]; do sleep 0.02; done; exit 1"}}}')
    project.rekindle("submit", "spec.yaml")
    project.serve("--work")
    visitor.log_in()
    page = visitor.open("/supervise?workflow=1")
    page.get_by_label("Stop if more than").fill("100")
    page.get_by_label("Reruns at most").fill("2")
    page.get_by_role("button", name="Start supervising").click()
    first = page.locator("#supervision-1")
    expect(first).to_contain_text("running")
    page.get_by_role("button", name="Start supervising").click()
    expect(page.locator("#supervise-said")).to_contain_text("supervises the workflow already")
    first.get_by_role("button", name="Stop").click()
    expect(first).to_contain_text("ended: canceled")
    (project.folder / "go").touch()
    page.get_by_role("button", name="Start supervising").click()
    second = page.locator("#supervision-2")
    expect(second).to_contain_text("ended: max reruns", timeout=30_000)
    expect(second.locator("tbody tr")).to_have_count(3)
    expect(second).to_contain_text("2 of 2 reruns")
    reruns = project.ask("reruns", "list")["reruns"]
    assert [(one["kind"], one["by"]) for one in reruns] == [("supervise", "console")] * 2


def test_a_server_that_runs_nothing_says_how_to_supervise(project: ServedProject, visitor: Visitor) -> None:
    project.serve()
    visitor.log_in()
    page = visitor.open("/supervise")
    expect(page.get_by_text("rekindle supervise WORKFLOW")).to_be_visible()
    expect(page.get_by_role("button", name="Start supervising")).to_have_count(0)


def test_a_new_run_has_other_parameters_and_the_workflows_own_file(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", "--param", "name=two", expect=2)
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    page.get_by_role("link", name="New run…").click()
    expect(page.get_by_label("name", exact=True)).to_have_value("two")
    page.get_by_label("alpha").fill("0.2")
    page.get_by_label("Name", exact=True).fill("colder")
    preview = page.locator("#new-run-preview")
    expect(preview).to_contain_text("colder: 4 jobs")
    expect(preview).to_contain_text("alpha: 0.1 becomes 0.2")
    assert len(project.ask("status")["workflows"]) == 1, "a preview stores nothing"
    preview.get_by_role("button", name="Submit the new run").click()
    expect(preview).to_contain_text("Submitted: colder, workflow 2, 4 jobs.")
    with open_session(str(project.folder / ".rekindle")) as session:
        run = workflow_queries.workflows(session)[-1]
        assert workflow_queries.params(session, run) == {"alpha": 0.2, "name": "two"}
    page.get_by_label("alpha").fill("${nothing}")
    (project.folder / "spec.yaml").unlink()
    page.get_by_role("button", name="Preview").click()
    expect(preview.get_by_role("alert")).to_contain_text("its file is gone")


def test_what_is_typed_before_the_scripts_are_there_is_previewed(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("submit", "spec.yaml")
    project.serve()
    page = visitor.log_in()
    delayed: list[Route] = []
    page.route("**/static/console.js", lambda route: delayed.append(route))
    page.goto(f"{project.url}/workflows/1/new", wait_until="commit")
    page.get_by_label("alpha").fill("0.2")
    until(lambda: page.wait_for_timeout(20) or delayed, "the script is asked for")
    delayed[0].continue_()
    expect(page.locator("#new-run-preview")).to_contain_text("alpha: 0.1 becomes 0.2")


def test_the_pages_are_accessible_at_both_widths(project: ServedProject, visitor: Visitor) -> None:
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", expect=2)
    project.rekindle("rerun", "2", "--yes")
    project.serve("--work")
    page = visitor.log_in()
    for path in (
        "/reruns",
        "/reruns/1",
        "/workflows/1/reruns",
        "/failures",
        "/flaky?workflow=1",
        "/supervise",
        "/workflows/1/new",
    ):
        visitor.open(path)
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert visitor.serious() == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
