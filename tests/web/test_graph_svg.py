"""The picture of a workflow, alone and in a real browser under the console's content policy."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from rekindle.domain.states import State
from rekindle.engine.queries.graphs import GraphEdge, GraphNode, WorkflowGraph, workflow_graph
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec import load
from rekindle.web import graph_svg
from rekindle.web.graph_svg import Links, draw_graph, update_graph

STATIC = Path(graph_svg.__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_STYLE = """:root { color-scheme: light dark } body { margin: 8px; background: #fbfbfa; color: #1c2024 }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e9ec } }"""
LINKS = Links("/jobs/{}".format, "?expand={}".format, "?collapse={}".format)

SWEEP = """
    name: sweep
    jobs:
      prepare: {run: "true"}
      train:
        matrix: {alpha: [0.1, 1.0], seed: {range: [0, 10]}}
        needs: [prepare]
        run: "test ${matrix.seed} != 3"
      score: {matrix: {seed: {range: [0, 10]}}, needs: ["train[alpha=0.1,seed=${matrix.seed}]"], run: "true"}
      report: {needs: ["train*", "score*", prepare], run: "true"}
      a_job_with_a_name_that_is_longer_than_its_box: {needs: [prepare], run: "true"}
"""


@pytest.fixture
def sweep(tmp_path) -> Iterator[Session]:
    """A store with a sweep that has not run."""
    (tmp_path / "spec.yaml").write_text(textwrap.dedent(SWEEP))
    with open_session(str(tmp_path / ".rekindle")) as session:
        submit(session, load(tmp_path / "spec.yaml"))
        yield session


@pytest.fixture
def failed(sweep) -> Session:
    """The sweep, run: two jobs have failed."""
    work(sweep, WorkOptions(slots=2))
    return sweep


def parsed(graph: WorkflowGraph) -> ElementTree.Element:
    return ElementTree.fromstring(draw_graph(graph, "sweep", LINKS))


def nodes_of(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """The links of nodes by the names in their titles."""
    found = [one for one in root.iter("a") if "data-node" in one.attrib]
    return {re.split(": |, ", one.findtext("title") or "")[0]: one for one in found}


def test_each_job_is_a_link_with_a_title_a_label_and_its_state(failed):
    graph = workflow_graph(failed, 1)
    node = nodes_of(parsed(graph))["a_job_with_a_name_that_is_longer_than_its_box"]
    [number] = [one.job for one in graph.nodes if one.name.startswith("a_job")]
    assert node.get("href") == f"/jobs/{number}"
    assert node.get("data-node") == f"job-{number}"
    assert "state-completed" in node.get("class").split()
    assert node.findtext("title").endswith(": completed; needs prepare")
    assert [text.text for text in node.iter("text")] == ["a_job_with_…han_its_box", "✓ completed"]


def test_a_group_is_a_link_that_expands_it_with_a_bar_and_numbers(failed):
    node = nodes_of(parsed(workflow_graph(failed, 1, collapse=True)))["train"]
    assert node.get("href") == "?expand=train"
    assert [text.text for text in node.iter("text")] == ["train ×20", "✗ 2  ✓ 18", None]
    bar = {one.get("class"): float(one.get("width")) for one in node.iter("rect") if "fill" in one.get("class")}
    assert bar.keys() == {"fill-completed", "fill-failed"}
    assert bar["fill-completed"] == pytest.approx(9 * bar["fill-failed"], abs=1)
    assert "20 jobs: 18 completed, 2 failed; needs prepare" in node.findtext("title")


def test_failed_jobs_and_what_waits_for_them_are_a_path(failed):
    graph = workflow_graph(failed, 1, collapse=True)
    root = parsed(graph)
    on_path = {name for name, node in nodes_of(root).items() if "failed-path" in node.get("class").split()}
    assert on_path == {"train", "score", "report"}
    assert "blocked" in nodes_of(root)["report"].get("class").split()
    names = {node.id: node.name for node in graph.nodes}
    edges = [one for one in root.iter("path") if "failed-path" in one.get("class").split()]
    ends = {tuple(names[part] for part in one.get("data-edge").split()) for one in edges}
    assert ends == {("train", "score"), ("train", "report"), ("score", "report")}


def test_jobs_with_the_same_needs_share_a_block(failed):
    root = parsed(workflow_graph(failed, 1, frozenset({"train"}), collapse=True))
    blocks = [one for one in root.iter("g") if "graph-block" in one.get("class", "").split()]
    assert [[text.text for text in block.iter("text")] for block in blocks] == [["train: 10 of 20", "✗ 1  ✓ 9"]] * 2
    assert [one.get("href") for block in blocks for one in block.iter("a")] == ["?collapse=train"] * 2
    labels = [text.text for text in root.iter("text") if (text.text or "").startswith("alpha=")]
    assert len(labels) == 20
    assert "alpha=0.1,seed=3" in labels


def test_a_block_of_a_whole_group_has_its_name_and_size(failed):
    root = parsed(workflow_graph(failed, 1, frozenset({"score"}), collapse=True))
    [block] = [one for one in root.iter("g") if "graph-block" in one.get("class", "").split()]
    assert [text.text for text in block.iter("text")] == ["score ×10", "… 1  ✓ 9"]


def all_to_all() -> WorkflowGraph:
    """Five jobs that a job of their own each needs, and that all need five others, one of which has failed."""
    nodes = [
        GraphNode(f"job-{10 * layer + at}", f"{name}{at}", "job", {state: 1}, 0, blocked, None, 10 * layer + at, name)
        for layer, name in enumerate("abc", 1)
        for at in range(5)
        for state, blocked in [
            (State.FAILED, 0) if (layer, at) == (1, 2) else (State.COMPLETED, 0) if layer == 1 else (State.WAITING, 1)
        ]
    ]
    ends = [(f"job-{10 + a}", f"job-{20 + b}") for a in range(5) for b in range(5)]
    ends += [(f"job-{20 + at}", f"job-{30 + at}") for at in range(5)]
    return WorkflowGraph(1, 1, 15, tuple(nodes), tuple(GraphEdge(a, b, 1) for a, b in ends), False, {})


def test_edges_from_all_to_all_pass_one_point():
    root = parsed(all_to_all())
    edges = {one.get("data-edge"): one.get("class") for one in root.iter("path")}
    assert len(edges) == 5 + 5 + 5
    failed = {ends for ends, classes in edges.items() if "failed-path" in classes.split()}
    assert {ends for ends in failed if ends.endswith("joint-0")} == {"job-12 joint-0"}
    assert {f"joint-0 job-{20 + at}" for at in range(5)} <= failed
    assert len(list(root.iter("circle"))) == 1
    assert len(nodes_of(root)) == 15


def test_nothing_has_a_style_of_its_own(failed):
    for collapse in (False, True):
        text = draw_graph(workflow_graph(failed, 1, collapse=collapse), "sweep", LINKS)
        assert not re.search(r"style|<script|\son\w+=", text)


def test_names_are_text_whatever_they_hold():
    hostile = '"><script>alert(1)</script>\x1b[31m\u202e&'
    nodes = (
        GraphNode("job-1", hostile, "job", {State.FAILED: 1}, job=1, group=hostile),
        GraphNode(f"group-{hostile}", hostile, "group", {State.READY: 2}),
    )
    graph = WorkflowGraph(1, 1, 3, nodes, (GraphEdge(nodes[0].id, nodes[1].id, 1),), True, {}, (hostile,))
    text = draw_graph(graph, hostile, LINKS)
    assert "<script" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", re.sub('(href|data-node|data-edge)="[^"]*"', "", text))
    links = Links("/jobs/{}".format, lambda name: "?expand", lambda name: "?collapse")
    ElementTree.fromstring(draw_graph(msgspec.structs.replace(graph, expanded=()), "", links).replace("\x1b", ""))


def test_a_workflow_without_jobs_says_so():
    assert draw_graph(WorkflowGraph(1, 1, 0, (), (), False, {}), "empty", LINKS) == (
        '<p class="graph-note">No jobs.</p>'
    )


def test_few_of_many_are_seen_in_a_bar():
    node = GraphNode("group-a", "a", "group", {State.COMPLETED: 99_999, State.FAILED: 1})
    graph = WorkflowGraph(1, 1, 100_000, (node,), (), True, {})
    update = update_graph(graph).nodes["group-a"]
    assert update.text == "✗ 1  ✓ 99,999"
    widths = {name: width for name, _, width in update.bar}
    assert widths["fill-failed"] >= 2.9
    assert sum(widths.values()) == pytest.approx(226, abs=0.5)


def test_numbers_that_do_not_fit_are_shortened():
    counts = {State.COMPLETED: 61_234, State.WAITING: 1_250_000, State.RUNNING: 800, State.READY: 9_999}
    node = GraphNode("group-a", "a", "group", counts, held=7, blocked=12, subtasks=(3, 4))
    update = update_graph(WorkflowGraph(1, 1, 1, (node,), (), True, {})).nodes["group-a"]
    assert update.text == "▶800 ◇9.9k …1.2M ✓61k"
    assert update.more == "subtasks 3/4 · 12 blocked · 7 held"
    assert "1,250,000 waiting" in update.title


@pytest.fixture
def show(browser):
    """Shows graphs, and fails if the browser reports an error: also what the content policy blocks."""
    problems, contexts = [], []

    def open_page(graph, *, width=1280, scheme="light", part=""):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        files = {
            "/": ("text/html", page_of(graph) + part),
            "/graph.css": ("text/css", (STATIC / "graph.css").read_text()),
            "/page.css": ("text/css", PAGE_STYLE),
            "/graph.js": ("text/javascript", (STATIC / "graph.js").read_text()),
        }

        def answer(route):
            kind, body = files.get("/" + route.request.url.split("/", 3)[3], ("text/plain", ""))
            headers = {"content-security-policy": POLICY, "content-type": f"{kind}; charset=utf-8"}
            route.fulfill(body=body, headers=headers)

        page.route("**/*", answer)
        page.goto("http://graph.test/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def page_of(graph: WorkflowGraph) -> str:
    return (
        '<!doctype html><html lang="en"><head><title>Graph</title><link rel="stylesheet" href="page.css">'
        '<link rel="stylesheet" href="graph.css"><link rel="icon" href="data:,">'
        '<script src="graph.js" defer></script></head>'
        f"<body><main><h1>Graph</h1>{draw_graph(graph, 'sweep', LINKS)}</main></body></html>"
    )


def test_labels_fit_their_boxes(failed, show):
    for collapse in (False, True):
        page = show(workflow_graph(failed, 1, collapse=collapse))
        too_wide = page.evaluate("""() => [...document.querySelectorAll("a[data-node]")].flatMap(node => {
            const right = node.querySelector(".graph-box").getBBox().width;
            const end = text => text.getBBox().x + text.getBBox().width;
            return [...node.querySelectorAll("text")].filter(text => end(text) > right - 4);
        }).map(text => text.textContent)""")
        assert too_wide == []


def test_the_colours_of_states_come_from_the_stylesheet(failed, show):
    graph = workflow_graph(failed, 1, collapse=True)
    colour = """() => getComputedStyle(document.querySelector(".fill-failed")).fill"""
    assert show(graph).evaluate(colour) == "rgb(192, 38, 38)"
    assert show(graph, scheme="dark").evaluate(colour) == "rgb(255, 138, 128)"


def test_a_narrow_page_scrolls_the_picture_and_not_itself(failed, show):
    page = show(workflow_graph(failed, 1), width=400)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    region = page.get_by_role("region", name="Graph of sweep: 33 jobs")
    assert region.evaluate("one => one.scrollWidth > one.clientWidth")
    page.keyboard.press("Tab")
    assert region.evaluate("one => one === document.activeElement")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.graph-scroll').scrollLeft > 0")


def test_the_keyboard_goes_through_the_nodes_in_the_order_of_layers(failed, show):
    page = show(workflow_graph(failed, 1, collapse=True))
    seen = []
    for _ in range(6):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.dataset.node?.replace(/-.*/, '') || 'region'"))
    assert seen == ["region", "job", "group", "job", "group", "job"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?expand=score")


def test_links_are_named_by_their_titles(failed, show):
    page = show(workflow_graph(failed, 1, collapse=True))
    page.get_by_role("link", name="train, 20 jobs: 18 completed, 2 failed; needs prepare", exact=True).wait_for()
    assert page.get_by_role("link").count() == 5


def test_an_update_gives_the_same_picture_as_drawing_it_again(sweep, show):
    views = (((), True), (("train",), True), ((), False))
    earlier = [show(workflow_graph(sweep, 1, frozenset(expand), collapse=collapse)) for expand, collapse in views]
    work(sweep, WorkOptions(slots=2))
    for page, (expand, collapse) in zip(earlier, views, strict=True):
        after = workflow_graph(sweep, 1, frozenset(expand), collapse=collapse)
        page.evaluate(f"updateGraph({msgspec.json.encode(update_graph(after)).decode()})")
        drawn = show(after)
        nodes = "() => [...document.querySelectorAll('[data-node]')].map(one => one.outerHTML)"
        edges = "() => [...document.querySelectorAll('svg > g:first-child > *')].map(one => one.outerHTML).sort()"
        assert page.evaluate(nodes) == drawn.evaluate(nodes)
        assert page.evaluate(edges) == drawn.evaluate(edges)


@pytest.mark.parametrize("revised", [False, True])
def test_a_page_whose_live_part_is_newer_than_its_drawing_follows_it(sweep, show, revised):
    before = workflow_graph(sweep, 1)
    work(sweep, WorkOptions(slots=2))
    after = msgspec.structs.replace(workflow_graph(sweep, 1), revision=2 if revised else 1)
    update = escape(msgspec.json.encode(update_graph(after)).decode())
    part = f'<data value="{update}" data-layout="{after.layout}"></data><p id="graph-outdated" hidden>Outdated</p>'
    page = show(before, part=f'<div id="part-graph">{part}</div>')
    assert page.locator(".state-failed[data-node]").count() == (0 if revised else 2)
    assert page.get_by_text("Outdated").is_visible() == revised
    if revised:  # the part is sent again, as it is when the stream begins again
        page.evaluate("document.getElementById('graph-outdated').hidden = true")
        page.get_by_text("Outdated").wait_for(state="visible")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["jobs", "groups", "expanded"])
def test_axe_finds_nothing_serious(failed, show, view, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    expand = frozenset({"train"} if view == "expanded" else ())
    page = show(workflow_graph(failed, 1, expand, collapse=view != "jobs"), scheme=scheme)
    # The rules are evaluated by the driver, which the content policy does not concern.
    page.context.set_default_timeout(30_000)
    page.evaluate(axe.Axe().axe_script)
    found = page.evaluate("axe.run()")
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == [], json.dumps(serious, indent=1)
