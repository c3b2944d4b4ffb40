"""The picture of a workflow: its layout, its queries and its drawing."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from benchmarks.harness import Measurement, Row, Samples
from benchmarks.projects import project
from rekindle import Client, Workflow
from rekindle.domain.graph_layout import Box, Edge, lay_out
from rekindle.engine.queries.graphs import WorkflowGraph, refresh_graph, workflow_graph
from rekindle.engine.session import Session, open_session
from rekindle.web.graph_svg import Links, draw_graph, update_graph

JOB = {"run": ["/bin/true"]}
LINKS = Links("/jobs/{}".format, "?expand={}".format, "?collapse={}".format)


def layouts(count: int, rounds: int) -> list[Measurement]:
    """Measure the layout of a random graph."""
    samples = Samples()
    boxes, edges = random_graph(count)
    for _ in range(rounds):
        samples.take("layout", partial(lay_out, boxes, edges))
    return samples.seconds()


def graphs(count: int, rounds: int) -> list[Measurement]:
    """Measure the graph of a workflow of about `count` jobs."""
    samples = Samples()
    with project(JOB, 1) as folder:
        submit(folder, count)
        with open_session(str(folder / ".rekindle")) as session:
            for _ in range(rounds):
                read_and_draw(samples, session)
    return samples.seconds()


def random_graph(n: int) -> tuple[list[Box], list[Edge]]:
    """Return boxes in about as many layers as each has boxes, with two parents each, and some long edges."""
    chance, width = random.Random(1), int(n**0.5)
    edges = []
    for node in range(width, n):
        above = (node // width - 1) * width
        edges += [(str(above + chance.randrange(width)), str(node)) for _ in range(2)]
        if chance.random() < 0.05:
            edges.append((str(chance.randrange(node)), str(node)))
    return [Box(str(node), 188, 44) for node in range(n)], edges


def submit(folder: Path, count: int) -> None:
    """Submit a workflow of two matrices, whose jobs need one another in pairs, and some single jobs."""
    half = count // 2 - 2
    workflow = Workflow("graphs", directory=str(folder))
    workflow.job("prepare", **JOB)
    workflow.job("train", matrix={"i": {"range": [0, half]}}, needs=["prepare"], **JOB)
    workflow.job("score", matrix={"i": {"range": [0, half]}}, needs=["train[i=${matrix.i}]"], **JOB)
    workflow.job("report", needs=["score*"], **JOB)
    with Client(str(folder / ".rekindle")) as client:
        client.submit(workflow.definition())


def read_and_draw(samples: Samples, session: Session) -> None:
    """Measure the queries and drawings of the collapsed graph, and of one with an expanded group."""
    graph: WorkflowGraph = samples.take("read, by groups", lambda: workflow_graph(session, 1))
    samples.take("draw", lambda: draw_graph(graph, "graphs", LINKS))
    samples.take("refresh", lambda: refresh_graph(session, graph))
    samples.take("changes of the drawing", lambda: update_graph(graph))
    expanded = samples.take("read, a group expanded", lambda: workflow_graph(session, 1, frozenset({"train"})))
    samples.take("draw, a group expanded", lambda: draw_graph(expanded, "graphs", LINKS))


ROWS = (
    Row("layouts", "layouts of random graphs", layouts, (300, 2_000, 20_000), (300, 2_000), rounds=5, growth_rounds=5),
    Row("graphs", "the picture of a large workflow", graphs, (100_000,), (10_000,), rounds=5),
)
