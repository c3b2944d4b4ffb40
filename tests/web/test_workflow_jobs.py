"""The jobs of a workflow in a browser: filters, order, pages, and the selection."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from served import NARROW, WIDE, ServedProject, Visitor

HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(2)</script>', "a\u202eb\x1b[31mred\x07", "n" * 200]

SPEC = {
    "name": "sweep",
    "defaults": {"resources": {"memory": "16M"}},
    "jobs": {
        "train": {"matrix": {"k": {"range": [0, 1000]}}, "call": "work:train", "args": {"k": "${matrix.k}"}},
        "report": {"needs": ["train*"], "run": "true"},
    },
}

WORK = """
def train(k):
    if k % 100 == 7:
        raise ValueError(f"{k} is <b>wrong</b>")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProject]:
    """A server of 1,001 jobs: 990 completed, 10 failed, one waits."""
    made = ServedProject(tmp_path_factory.mktemp("jobs"))
    (made.folder / "work.py").write_text(WORK)
    made.spec(json.dumps(SPEC))
    made.run("run", "spec.yaml", "-j", "4")
    made.serve()
    yield made
    made.close()


@pytest.fixture(scope="module")
def logged_in(browser: Browser, ran: ServedProject) -> Iterator[Visitor]:
    made = Visitor(browser, ran)
    made.log_in()
    yield made
    made.close()
    assert made.problems == []


@pytest.fixture
def page(logged_in: Visitor) -> Page:
    """The table, with nothing selected."""
    made = logged_in.open("/workflows/1")
    made.evaluate("sessionStorage.clear()")
    made.set_viewport_size(WIDE)
    made.reload()
    return made


def rows(page: Page) -> Locator:
    return page.locator("tr[data-job]")


def ids(page: Page) -> list[int]:
    page.wait_for_load_state()
    return [int(one) for one in rows(page).evaluate_all("all => all.map(one => one.dataset.job)")]


def selected(page: Page) -> list[int]:
    every = page.locator("tr[aria-selected=true]")
    return [int(one) for one in every.evaluate_all("all => all.map(one => one.dataset.job)")]


def box(page: Page, job: int) -> Locator:
    return page.locator(f"#job-{job} td.pick input")


def count(page: Page) -> Locator:
    return page.locator("#selection-count")


def test_pages_lead_through_all_jobs_and_back(page: Page) -> None:
    seen = ids(page)
    while page.get_by_role("link", name="Next").count():
        page.get_by_role("link", name="Next").click()
        seen += ids(page)
    assert seen == list(range(1, 1002))
    page.get_by_role("link", name="Previous").click()
    assert ids(page) == list(range(801, 1001))
    page.get_by_role("link", name="First").click()
    page.get_by_role("link", name="Last").click()
    assert ids(page) == list(range(802, 1002))


def test_headers_sort_and_say_so(page: Page) -> None:
    header = page.locator("th.col-name").first
    header.get_by_role("link").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    names = rows(page).locator("th").all_inner_texts()
    assert names[:3] == ["report", "train[k=0]", "train[k=100]"]
    header.get_by_role("link").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(rows(page).first).to_contain_text("train[k=9]")
    page.locator("thead th.col-cause a").click()
    expect(rows(page).nth(9)).to_contain_text("exception")
    expect(rows(page).nth(10)).not_to_contain_text("exception")


def test_filters_narrow_in_the_words_of_a_selection(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("k=99")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Job name, or a pattern with * and ?")).to_have_value("*k=99*")
    expect(page.get_by_text("11 jobs match")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("checkbox", name="failed").check()
    page.get_by_text("More conditions").click()
    page.get_by_label("Condition").fill("matrix.k<300")
    page.get_by_role("button", name="Filter").click()
    assert ids(page) == [8, 108, 208]
    page.get_by_role("link", name="ValueError: ").click()
    expect(page.get_by_text("10 jobs match")).to_be_visible()
    page.locator(".chip[aria-current]").click()
    expect(page.get_by_text("1,001 jobs", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("filter=colour%3Dred", "unknown field 'colour'"),
        ("error=%28%5B", "is not a regular expression"),
        ("query=%7B", "the query is not JSON"),
        ("state=fizzled", "fizzled"),
        ("signature=beef", "no failure has the signature 'beef'"),
        ("name=%00", "null character"),
        ("query=%7B%22name%22%3A%22%5Cud800%22%7D", "half of a character"),
        ("sort=name&after=%5B%22%5Cud800%22%2C1%5D", "no such page"),
    ],
)
def test_a_bad_filter_is_explained_beside_its_field(logged_in: Visitor, query: str, text: str) -> None:
    page = logged_in.open(f"/workflows/1?{query}")
    expect(page.get_by_role("alert").first).to_contain_text(text)
    assert page.locator("tr[data-job]").count() == 0


def test_ranges_toggles_and_a_page_are_selected_by_mouse(page: Page) -> None:
    box(page, 2).click()
    box(page, 5).click(modifiers=["Shift"])
    assert selected(page) == [2, 3, 4, 5]
    page.locator("#job-4 .col-state").click(modifiers=["Control"])
    expect(count(page)).to_have_text("3 selected")
    assert selected(page) == [2, 3, 5]
    page.get_by_label("Select the jobs of this page").click()
    expect(count(page)).to_have_text("200 selected")
    page.get_by_role("button", name="Clear").click()
    expect(count(page)).to_be_hidden()
    assert page.evaluate("window.rekindle.selection()") is None


def test_a_selection_survives_pages_order_and_reload(page: Page) -> None:
    box(page, 1).click()
    page.get_by_role("link", name="Next").click()
    box(page, 201).click()
    page.locator("thead th.col-name a").click()
    page.reload()
    expect(count(page)).to_have_text("2 selected")
    assert page.evaluate("window.rekindle.selection().toString()") == "w=1&plus=1%2C201"
    rerun = page.locator("#selection-bar [data-rerun]")
    expect(rerun).to_have_attribute("data-rerun", "w=1&plus=1%2C201")
    rerun.click()
    expect(page.locator("dialog#rerun")).to_contain_text("train[k=200]")
    page.keyboard.press("Escape")
    page.goto(page.url.partition("?")[0])
    assert selected(page) == [1]


def test_the_keyboard_alone_selects(page: Page) -> None:
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ ")
    assert selected(page) == [1, 2, 3, 4]
    page.keyboard.press("a")
    expect(count(page)).to_have_text("1,001 selected (all that match)")
    expect(page.locator("#selection-said")).to_have_text("1,001 selected (all that match)")
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    expect(count(page)).to_have_text("1,000 selected (all that match, 1 left out)")
    assert page.evaluate("window.rekindle.selection().toString()") == "w=1&all=1&minus=3"
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/3")


def test_all_that_match_without_two_are_held_and_released(page: Page, ran: ServedProject) -> None:
    page.goto(f"{ran.url}/workflows/1?name=train*")
    page.get_by_role("button", name="Select all that match (1,000)").click()
    box(page, 3).click()
    page.get_by_role("link", name="Last").click()
    box(page, 1000).click()
    expect(count(page)).to_have_text("998 selected (all that match, 2 left out)")
    page.get_by_role("button", name="Hold").click()
    expect(page.locator("#notices")).to_contain_text("998 jobs held: 1-2,4-999")
    expect(page.locator("#job-999")).to_contain_text("held")
    expect(page.locator("#job-1000")).not_to_contain_text("held")
    events = ran.ask("events", "list")["events"]
    assert (events[-1]["kind"], events[-1]["detail"]["by"]) == ("held", "console")
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#notices")).to_contain_text("998 jobs released")


def post(project: ServedProject, path: str, token: str, **fields: str) -> tuple[int, str]:
    """Send a form with a token; return the status and the answer."""
    request = urllib.request.Request(project.url + path, urllib.parse.urlencode(fields).encode())
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("HX-Request", "true")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_actions_need_a_scope_a_selection_and_jobs_that_exist(ran: ServedProject) -> None:
    reader, writer = ran.token("read", "looks"), ran.token("read,rerun", "acts")
    for act in ("hold", "release", "cancel", "accept", "complete"):
        assert post(ran, f"/jobs/{act}", reader, all="1", w="1")[0] == 403
        for fields in ({}, {"w": "1"}, {"all": "1"}, {"all": "1", "minus": "4"}, {"w": "1", "state": "failed"}):
            status, text = post(ran, f"/jobs/{act}", writer, **fields)
            assert (status, "nothing is selected" in text) == (400, True)
        assert post(ran, f"/jobs/{act}", writer, plus="5000", w="1")[0] == 404
    assert post(ran, "/jobs/hold", writer, plus="1001", w="1", note="<b>later</b>") == (
        200,
        "<p>1 job held: 1001</p>\n",
    )
    assert ran.ask("events", "list")["events"][-1]["detail"]["by"] == "acts"
    assert post(ran, "/jobs/release", writer, all="1", w="1", filter="held=true")[1] == "<p>1 job released: 1001</p>\n"
    assert "<p>1 job canceled before starting: 1001</p>" in post(ran, "/jobs/cancel", writer, plus="1001")[1]
    assert "nothing is stale" in post(ran, "/jobs/accept", writer, all="1", w="1", state="completed")[1]
    assert "1 job completed by hand" in post(ran, "/jobs/complete", writer, plus="1001", note="elsewhere")[1]


def test_the_pages_are_accessible(page: Page, logged_in: Visitor) -> None:
    page = logged_in.open("/workflows/1?state=failed&filter=id>0&sort=seconds")
    box(page, 8).click()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert logged_in.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_changes_are_shown_without_losing_place_focus_or_selection(project: ServedProject, visitor: Visitor) -> None:
    project.spec(
        json.dumps(
            {
                "name": "slow",
                "jobs": {
                    "gated": {"run": "while ! [ -e go ]; do sleep 0.02; done"},
                    "next": {"matrix": {"k": {"range": [0, 60]}}, "needs": ["gated"], "run": "true"},
                },
            }
        )
    )
    project.serve("--work", "-j", "2")
    project.rekindle("submit", "spec.yaml")
    visitor.log_in()
    page = visitor.open("/workflows/1?sort=name")
    box(page, 40).click()
    page.locator("#job-41 a").focus()
    page.evaluate("window.loadedOnce = true; window.scrollTo(0, 900)")
    place = page.locator("#job-41").bounding_box()
    expect(page.locator("#job-1")).to_contain_text("running")
    (project.folder / "go").touch()
    expect(page.locator("#job-61")).to_contain_text("completed", timeout=30_000)
    expect(page.locator(".counts")).to_contain_text("61 ✓ completed")
    assert page.evaluate("window.loadedOnce && document.activeElement.closest('tr').id") == "job-41"
    assert selected(page) == [40]
    assert box(page, 40).is_checked()
    after = page.locator("#job-41").bounding_box()
    assert place is not None
    assert after is not None
    assert abs(place["y"] - after["y"]) < 40


def test_groups_count_jobs_and_subtasks(project: ServedProject, visitor: Visitor) -> None:
    slices = {"each": [1, 2, 3, 4], "run": "test ${item} -ne 4", "name": "process"}
    jobs = {"prepare": {"run": "true"}, "slices": {"matrix": {"part": [1, 2, 3]}, "steps": [slices]}}
    project.spec(json.dumps({"name": "slices", "jobs": jobs}))
    project.run("run", "spec.yaml")
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    group = page.locator("table.groups tr", has_text="slices")
    assert group.locator("td").all_inner_texts()[1:] == ["", "", "", "3", "", "9/12"]
    group.get_by_role("link").click()
    expect(page.get_by_text("3 jobs match")).to_be_visible()
    assert visitor.serious() == []


def test_names_and_errors_of_jobs_are_text(project: ServedProject, visitor: Visitor) -> None:
    jobs = {f"job{at}": {"run": f"printf '%s' {json.dumps(HOSTILE[0])} >&2; exit 3"} for at in range(2)}
    project.spec(
        json.dumps({"name": "<b>bold</b>", "jobs": {**jobs, "matrix": {"matrix": {"x": HOSTILE}, "run": "true"}}})
    )
    project.run("run", "spec.yaml")
    project.serve()
    visitor.log_in()
    page = visitor.open("/workflows/1")
    expect(page.get_by_text(HOSTILE[0]).first).to_be_visible()
    assert page.locator("main img, main script, main b:text('bold')").count() == 0
    text = page.locator("main").inner_text()
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
