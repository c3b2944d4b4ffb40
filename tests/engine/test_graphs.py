"""The graph of a workflow for a picture: nodes, groups, folds, states and progress."""

from __future__ import annotations

from collections import Counter

import pytest

from rekindle.domain.errors import NotFound
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import graphs, job_queries
from rekindle.engine.queries.graphs import refresh_graph, workflow_graph
from rekindle.engine.rerun.control import hold
from rekindle.store.archive import Store

SWEEP = """
    name: sweep
    jobs:
      prepare: {run: "true"}
      train:
        matrix: {i: {range: [0, 6]}}
        needs: [prepare]
        run: "test ${matrix.i} != 2 -o -e mended"
      score: {matrix: {i: {range: [0, 6]}}, needs: ["train[i=${matrix.i}]"], run: "true"}
      report: {needs: ["score*"], run: "true"}
      always: {needs: ["train*"], when: finished, run: "true"}
"""


def graph(project, *expand, **how):
    return workflow_graph(project.session, 1, frozenset(expand), **how)


def by_name(found):
    return {node.name: node for node in found.nodes}


def edges(found):
    names = {node.id: node.name for node in found.nodes}
    return {(names[edge.source], names[edge.target]): edge.n for edge in found.edges}


def test_up_to_300_jobs_are_drawn_by_themselves(project):
    project.submit(SWEEP)
    found = graph(project)
    assert (found.jobs, len(found.nodes), found.collapsed) == (15, 15, False)
    assert {node.kind for node in found.nodes} == {"job"}
    assert by_name(found)["train[i=3]"].group == "train"
    assert by_name(found)["prepare"].group == ""
    assert edges(found)["train[i=3]", "score[i=3]"] == 1
    assert len(found.edges) == 24


def test_a_collapsed_graph_has_a_node_for_each_template(project):
    project.submit(SWEEP)
    found = graph(project, collapse=True)
    assert [(node.name, node.kind, node.jobs) for node in found.nodes] == [
        ("prepare", "job", 1),
        ("train", "group", 6),
        ("score", "group", 6),
        ("report", "job", 1),
        ("always", "job", 1),
    ]
    assert edges(found) == {
        ("prepare", "train"): 6,
        ("train", "score"): 6,
        ("score", "report"): 6,
        ("train", "always"): 6,
    }


def test_groups_count_their_jobs_by_state_and_what_is_held_and_blocked(project):
    assert project.run(SWEEP).exit_code == 2
    nodes = by_name(graph(project, collapse=True))
    assert nodes["train"].counts == {State.COMPLETED: 5, State.FAILED: 1}
    assert nodes["score"].counts == {State.COMPLETED: 5, State.WAITING: 1}
    assert [name for name, node in nodes.items() if node.blocked] == ["score", "report"]
    assert [name for name, node in nodes.items() if node.is_failed_path] == ["train", "score", "report"]
    assert (nodes["score"].blocked, nodes["always"].counts) == (1, {State.COMPLETED: 1})
    hold(project.session, [project.job("score[i=2]"), project.job("report")], "checking")
    nodes = by_name(graph(project, collapse=True))
    assert (nodes["score"].held, nodes["report"].held, nodes["train"].held) == (1, 1, 0)


def test_a_job_that_runs_whenever_all_is_finished_is_not_blocked(project):
    project.submit("""
        name: finished
        jobs:
          bad: {run: "false"}
          gate: {run: "true"}
          always: {needs: [bad, gate], when: finished, run: "true"}
          after: {needs: [always], run: "true"}
          never: {needs: [bad], run: "true"}
    """)
    hold(project.session, [project.job("gate")], "checking")
    project.work()
    nodes = by_name(graph(project))
    assert {name: node.blocked for name, node in nodes.items() if node.counts == {State.WAITING: 1}} == {
        "always": 0,
        "after": 0,
        "never": 1,
    }


def test_an_expanded_group_is_drawn_job_by_job(project):
    project.run(SWEEP)
    found = graph(project, "train", "no such group", collapse=True)
    nodes = by_name(found)
    assert "train" not in nodes
    assert nodes["train[i=2]"].counts == {State.FAILED: 1}
    assert nodes["score"].jobs == 6
    assert edges(found)["prepare", "train[i=2]"] == 1
    assert edges(found)["train[i=2]", "score"] == 1
    assert sum(node.jobs for node in found.nodes) == 15


def test_of_a_large_expanded_group_the_failed_jobs_are_drawn_first(project, monkeypatch):
    monkeypatch.setattr(graphs, "EXPANDED_MARKS", 2)
    project.run(SWEEP)
    found = graph(project, "train", collapse=True)
    nodes = by_name(found)
    assert [name for name in nodes if name.startswith("train[")] == ["train[i=0]", "train[i=2]"]
    assert (nodes["train"].counts, nodes["train"].apart) == ({State.COMPLETED: 4}, 2)
    assert edges(found)["train", "score"] == 4
    assert edges(found)["train", "always"] == 4
    assert refresh_graph(project.session, found) == found


def test_expanded_groups_share_the_nodes(project, monkeypatch):
    monkeypatch.setattr(graphs, "EXPANDED_MARKS", 6)
    project.submit(SWEEP)
    found = graph(project, "train", "score", collapse=True)
    assert Counter(node.group for node in found.nodes if node.group) == {"train": 3, "score": 3}
    assert edges(found)["train", "score"] == 3


def test_more_than_300_jobs_are_drawn_by_groups(project):
    project.submit('name: many\njobs: {one: {matrix: {i: {range: [0, 301]}}, run: "true"}}')
    assert [(node.name, node.jobs) for node in graph(project).nodes] == [("one", 301)]


def test_many_edges_are_drawn_by_groups(project):
    text = 'name: dense\njobs:\n  a: {matrix: {i: {range: [0, 50]}}, run: "true"}\n'
    project.submit(text + '  b: {matrix: {i: {range: [0, 50]}}, needs: ["a*"], run: "true"}')
    found = graph(project)
    assert edges(found) == {("a", "b"): 2_500}


def test_more_than_300_templates_are_folded_and_none_is_left_out(project):
    names = [f"fit_{number}" for number in range(400)]
    text = "name: different\njobs:\n  start: {run: 'true'}\n"
    text += "".join(f"  {name}: {{needs: [start], run: 'echo {name}'}}\n" for name in names)
    project.submit(text + "  end: {needs: ['fit_*'], run: 'true'}\n")
    found = graph(project)
    assert [(node.name, node.kind, node.jobs) for node in found.nodes] == [
        ("start", "job", 1),
        ("layer 2: fit_#", "fold", 400),
        ("end", "job", 1),
    ]
    assert edges(found) == {("start", "layer 2: fit_#"): 400, ("layer 2: fit_#", "end"): 400}
    assert refresh_graph(project.session, found) == found
    opened = graph(project, "layer 2: fit_#")
    kinds = Counter(node.kind for node in opened.nodes)
    assert kinds == {"job": 302, "fold": 1}
    assert by_name(opened)["layer 2: fit_#"].jobs == 100
    assert sum(node.jobs for node in opened.nodes) == 402


def test_jobs_of_one_group_that_need_one_another_are_an_edge_to_itself(project):
    project.submit("""
        name: chain
        jobs:
          step:
            zip: {to: [1, 2, 3], from: [0, 1, 2]}
            inputs: {before: "${matrix.from}"}
            outputs: {after: "${matrix.to}"}
            run: "touch ${outputs.after}"
    """)
    assert edges(graph(project, collapse=True)) == {("step", "step"): 2}


def test_a_refreshed_graph_has_the_present_states(project):
    project.submit(SWEEP)
    before = graph(project, "train", collapse=True)
    project.work()
    after = refresh_graph(project.session, before)
    assert after == graph(project, "train", collapse=True)
    assert after.edges == before.edges
    assert after.nodes != before.nodes


def test_a_graph_of_another_revision_is_not_refreshed(project):
    project.submit(SWEEP)
    before = graph(project)
    project.submit(SWEEP.replace("[0, 6]", "[0, 7]"))
    assert refresh_graph(project.session, before) is None
    assert graph(project).jobs == 17


def test_a_graph_is_read_in_one_snapshot(project, monkeypatch):
    project.submit(SWEEP)
    blocks = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda store: blocks.append(store) or read(store))
    graph(project, "train", collapse=True)
    assert len(blocks) == 1


def test_an_unknown_workflow_is_named(project):
    with pytest.raises(NotFound, match="no such workflow: 7"):
        workflow_graph(project.session, 7)


FAN_OUTS = """
    name: slices
    jobs:
      slices:
        matrix: {m: [a, b]}
        steps:
          - {name: process, each: "items/*", run: "test $(basename ${item}) != s0 -o -e mended-${matrix.m}"}
          - {name: store, run: "test -e stored"}
      after: {needs: ["slices*"], run: "true"}
"""


def progress(project):
    """The (completed, all) subtasks of the collapsed graph, which must be those of the job queries."""
    found = {node.name: node.subtasks for node in graph(project, collapse=True).nodes if node.subtasks}
    live = [one for name in ("slices[m=a]", "slices[m=b]") for one in project.attempts(name, live=True)]
    counts = sum((Counter(one) for one in job_queries.subtask_counts(project.session, live).values()), Counter())
    expected = {"slices": (counts[State.COMPLETED], counts.total())} if counts else {}
    assert found == expected
    apart = [node.subtasks for node in graph(project).nodes if node.subtasks]
    assert tuple(map(sum, zip(*apart, strict=True))) == expected.get("slices", ())
    return found.get("slices")


def items(project, *names):
    folder = project.folder / "items"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        (folder / name).touch()


def test_subtasks_of_all_attempts_that_build_on_each_other_are_counted_once(project):
    items(project, "s0", "s1", "s2", "s3")
    project.submit(FAN_OUTS)
    assert progress(project) is None
    project.work()
    assert progress(project) == (6, 8)
    (project.folder / "mended-a").touch()
    project.rerun("slices[m=a]", "slices[m=b]", how=How("failed-step"))
    assert progress(project) is None
    project.work()
    assert progress(project) == (7, 8)  # of a: all, and then its next step has failed
    (project.folder / "stored").touch()
    project.rerun("slices[m=a]", how=How("failed-step"))
    project.work()
    assert progress(project) == (7, 8)  # the step with the fan-out is kept


@pytest.mark.parametrize("subtasks", ["all", "failed", (1, 2)])
def test_subtasks_are_counted_when_items_have_come_and_gone(project, subtasks):
    items(project, "s0", "s1", "s2", "s3")
    project.run(FAN_OUTS)
    items(project, "s0", "s2", "s4")
    project.rerun("slices[m=a]", how=How("process", subtasks=subtasks))
    project.work()
    progress(project)
    items(project, "s0", "s4", "s1")
    (project.folder / "mended-a").touch()
    project.rerun("slices[m=a]", how=How("process", subtasks="failed"))
    project.work()
    assert progress(project) == (3 + 3, 7)
