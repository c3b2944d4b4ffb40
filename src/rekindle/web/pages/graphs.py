"""The graph of a workflow. The page has the drawing; its live part has only what changes in it (static/graph.js)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup

from rekindle.domain.errors import BadValue
from rekindle.engine.queries import selections
from rekindle.engine.queries.graphs import refresh_graph, workflow_graph
from rekindle.web.console import Page, Part, address
from rekindle.web.graph_svg import Links, draw_graph, update_graph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rekindle.engine.queries.graphs import WorkflowGraph
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values

_MOST_KEPT = 32

_Key = tuple[int, frozenset[str], bool]  # workflow, expanded groups, drawn by groups


def add(console: Console) -> None:
    """Add the page and its live part."""
    kept = _Graphs()
    console.add_page(Page("/workflows/{id:int}/graph", "graph.html", kept.page))
    console.add_part(Part("graph", "parts/graph.html", kept.changes))


class _Graphs:
    """The graphs that were drawn last: of these, only states are read again."""

    def __init__(self) -> None:
        self._kept: dict[_Key, WorkflowGraph] = {}

    def page(self, session: Session, query: Query) -> Values:
        """Return the values of the page."""
        workflow = selections.find_workflow(session, query["id"])
        key = _key(workflow.id, query)
        graph = self._keep(key, workflow_graph(session, workflow.id, key[1], collapse=key[2]))

        def at(expand: Iterable[str]) -> str:
            names = sorted(expand)
            given = {"groups": query.get("groups", ""), "expand": msgspec.json.encode(names).decode() if names else ""}
            return address(f"/workflows/{workflow.id}/graph", given)

        links = Links(
            job=lambda job: f"/jobs/{job}",
            expand=lambda name: at({*key[1], name}),
            collapse=lambda name: at(key[1] - {name}),
        )
        return {
            "title": f"Graph of {workflow.name}",
            "workflow": workflow,
            "tab": "graph",
            "drawing": Markup(draw_graph(graph, workflow.name, links)),
            "graph": graph,
            "given": {name: query.get(name, "") for name in ("groups", "expand")},
        }

    def changes(self, session: Session, query: Query) -> Values:
        """Return what has changed in the drawing. `layout` differs once the page has to be loaded again."""
        workflow = selections.find_workflow(session, query.get("id", ""))
        key = _key(workflow.id, query)
        known = self._kept.get(key)
        graph = None if known is None else refresh_graph(session, known)
        graph = self._keep(key, graph or workflow_graph(session, workflow.id, key[1], collapse=key[2]))
        update = msgspec.json.encode(update_graph(graph)).decode()
        return {"update": update, "layout": graph.layout}

    def _keep(self, key: _Key, graph: WorkflowGraph) -> WorkflowGraph:
        self._kept.pop(key, None)
        self._kept[key] = graph
        for oldest in list(self._kept)[:-_MOST_KEPT]:
            self._kept.pop(oldest, None)
        return graph


def _key(workflow: int, query: Query) -> _Key:
    """Return what a graph shows. Raise BadValue unless `expand` is a JSON list of names."""
    try:
        names = msgspec.json.decode(query.get("expand") or "[]", type=list[str])
    except (msgspec.DecodeError, UnicodeError):
        raise BadValue("expand= is not a list of names in JSON", hint="follow a link of the graph") from None
    return workflow, frozenset(names), bool(query.get("groups"))
