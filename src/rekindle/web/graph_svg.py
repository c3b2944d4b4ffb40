"""Draw the graph of a workflow as SVG within HTML: a link for each node, and what changes while the workflow runs.

Colours are classes (`static/graph.css`), without inline style. Each state has a sign and a word besides its colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise, product
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.graph_folding import find_blocks, find_joints
from rekindle.domain.graph_layout import Box, lay_out
from rekindle.domain.states import State
from rekindle.presentation.words import cut, one_line, plural, state_counts
from rekindle.web.markup import SIGNS

if TYPE_CHECKING:
    from rekindle.domain.graph_layout import Point, Route
    from rekindle.engine.queries.graphs import GraphNode, WorkflowGraph

_URGENT = (
    State.FAILED,
    State.RUNNING,
    State.QUEUED,
    State.CANCELED,
    State.READY,
    State.WAITING,
    State.COMPLETED,
)
"""States, those that most want attention first."""

_JOB = (188, 44)
_GROUP = (250, 74)
_PAD = 12
_ROOM = 20  # beside a text
_LABEL_CHARACTER, _SMALL_CHARACTER = 7.3, 6.7  # widths in the fonts of graph.css
_SMALL_ROOM = int((_GROUP[0] - _ROOM) / _SMALL_CHARACTER)
_BLOCK_AT_LEAST, _BLOCK_COLUMNS = 6, 6
_JOINT = 8
_JOINED_AT_LEAST = 12  # edges
_CELL_GAP, _HEAD = 8, 30
_LEAST_SEGMENT = 3.0
_NAMED = 4  # parents in a title


class Links(msgspec.Struct, frozen=True):
    """Where the links of a graph lead. Names are those of groups."""

    job: Callable[[int], str]
    expand: Callable[[str], str]
    collapse: Callable[[str], str]


class NodeUpdate(msgspec.Struct, frozen=True):
    """What changes in the drawing of a node: the classes of the element with this `data-node`, the texts within it of
    the classes `graph-state` and `graph-more`, its title, and the class, x and width of each rectangle of its bar."""

    classes: str
    text: str
    title: str
    more: str = ""
    bar: tuple[tuple[str, float, float], ...] = ()


class GraphUpdate(msgspec.Struct, frozen=True):
    """What changes in a drawing: nodes by `data-node`, and the classes of edges by `data-edge`."""

    nodes: Mapping[str, NodeUpdate]
    edges: Mapping[str, str]


def draw_graph(graph: WorkflowGraph, name: str, links: Links) -> str:
    """Return the drawing of a graph as HTML, `name` being that of the workflow."""
    if not graph.nodes:
        return '<p class="graph-note">No jobs.</p>'
    drawing = _Drawing(graph)
    about = f"Graph of {one_line(name)}: {plural(graph.jobs, 'job')}"
    if graph.collapsed:
        about += f" in {plural(len(graph.nodes), 'node')}"
    return (
        f'<div class="graph" data-layout="{graph.layout}">{_legend()}{_chips(graph, links)}'
        f'<div class="graph-scroll" role="region" tabindex="0" aria-label="{escape(about)}">'
        f"{drawing.svg(links)}</div></div>"
    )


def update_graph(graph: WorkflowGraph) -> GraphUpdate:
    """Return the changing parts of the drawing of a graph, for a page that shows the drawing of an earlier state."""
    drawing = _Drawing(graph)
    nodes = {node.id: drawing.update(node) for node in graph.nodes}
    nodes |= {block: drawing.update_block(block) for block in drawing.blocks}
    return GraphUpdate(nodes, {_edge_key(*ends): drawing.edge_classes(ends) for ends in drawing.edges})


def _legend() -> str:
    items = "".join(
        f'<li><span class="state-{state.label}" aria-hidden="true">{SIGNS[state]}</span> {state.label}</li>'
        for state in State
    )
    return f'<ul class="graph-legend" aria-label="Signs of states">{items}</ul>'


def _chips(graph: WorkflowGraph, links: Links) -> str:
    if not graph.expanded:
        return ""
    items = "".join(
        f'<li><a href="{escape(links.collapse(name))}">Collapse {escape(cut(one_line(name), 40, "middle"))}</a></li>'
        for name in graph.expanded
    )
    return f'<ul class="graph-expanded" aria-label="Expanded groups">{items}</ul>'


class _Drawing:
    """Nodes, blocks of jobs with the same needs, and the edges between these."""

    def __init__(self, graph: WorkflowGraph) -> None:
        self._graph = graph
        self._nodes = {node.id: node for node in graph.nodes}
        ends = [(edge.source, edge.target) for edge in graph.edges if edge.source != edge.target]
        jobs = {node.id: node.group for node in graph.nodes if node.job is not None}
        self.blocks = {f"block-{found[0]}": found for found in find_blocks(jobs, ends, _BLOCK_AT_LEAST)}
        self._block_of = {node: block for block, found in self.blocks.items() for node in found}
        self.edges: Counter[tuple[str, str]] = Counter()
        self._failed_edges: set[tuple[str, str]] = set()
        self._parents: dict[str, list[str]] = {}
        self._within: dict[str, int] = {}
        for edge in graph.edges:
            if edge.source == edge.target:
                self._within[edge.source] = edge.n
                continue
            self._parents.setdefault(edge.target, []).append(self._nodes[edge.source].name)
            drawn = (self._drawn(edge.source), self._drawn(edge.target))
            self.edges[drawn] += edge.n
            if self._nodes[edge.source].is_failed_path and self._nodes[edge.target].blocked:
                self._failed_edges.add(drawn)
        groups = {one: self._nodes[one].group for one in self._nodes if one not in self._block_of}
        self._joints = {
            f"joint-{index}": pair for index, pair in enumerate(find_joints(groups, self.edges, _JOINED_AT_LEAST))
        }
        for joint, (sources, targets) in self._joints.items():
            self._join(joint, sources, targets)

    def _join(self, joint: str, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Replace the edges between all sources and all targets by edges to and from a joint."""
        for source, target in product(sources, targets):
            del self.edges[source, target]
            self.edges[source, joint] = self.edges[joint, target] = 1
            if (source, target) in self._failed_edges:
                self._failed_edges |= {(source, joint), (joint, target)}

    def _drawn(self, node: str) -> str:
        return self._block_of.get(node, node)

    def svg(self, links: Links) -> str:
        """Return the picture."""
        drawn = dict.fromkeys(map(self._drawn, self._nodes))
        layout = lay_out([Box(one, *self._size(one)) for one in (*drawn, *self._joints)], self.edges)
        routes = sorted(layout.routes, key=lambda route: (route.source, route.target) in self._failed_edges)
        edges = "".join(map(self._edge, routes))
        marks = "".join(
            self._draw_block(one, at, links) if one in self.blocks else self._draw_node(self._nodes[one], at, links)
            for one, at in layout.positions.items()
            if one in drawn
        )
        edges += "".join(_draw_joint(layout.positions[one]) for one in self._joints)
        width, height = _number(layout.width), _number(layout.height)
        return (
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'<g aria-hidden="true">{edges}</g>{marks}</svg>'
        )

    def _size(self, one: str) -> tuple[float, float]:
        if one in self._joints:
            return _JOINT, _JOINT
        if one not in self.blocks:
            return _JOB if self._nodes[one].job is not None else _GROUP
        columns, rows = _grid(len(self.blocks[one]))
        width = 2 * _PAD + columns * (_JOB[0] + _CELL_GAP) - _CELL_GAP
        return width, _HEAD + rows * (_JOB[1] + _CELL_GAP) - _CELL_GAP + _PAD

    def _edge(self, route: Route) -> str:
        ends = (route.source, route.target)
        count = ""
        if self.edges[ends] > 1:
            x, y = _middle(route.points)
            count = f'<text class="graph-count" x="{_number(x)}" y="{_number(y - 5)}">{self.edges[ends]:,}</text>'
        classes, key = self.edge_classes(ends), escape(_edge_key(*ends))
        head = "" if route.target in self._joints else "m-7-4l7 4l-7 4"
        return f'<path class="{classes}" data-edge="{key}" d="{_path(route.points)}{head}"/>{count}'

    def edge_classes(self, ends: tuple[str, str]) -> str:
        """Return the classes of the edge between two drawn nodes."""
        return "graph-edge failed-path" if ends in self._failed_edges else "graph-edge"

    def _draw_node(self, node: GraphNode, at: Point, links: Links, label: str | None = None) -> str:
        width, height = _JOB if node.job is not None else _GROUP
        update = self.update(node)
        target = links.job(node.job) if node.job is not None else links.expand(node.name)
        text = _label(node) if label is None else label
        job = "" if node.job is None else f' data-job="{node.job}"'
        bar = "".join(
            f'<rect class="{name}" x="{_number(x)}" y="42" width="{_number(size)}" height="8"/>'
            for name, x, size in update.bar
        )
        more = f'<text class="graph-more" x="{_PAD}" y="65">{escape(update.more)}</text>'
        return (
            f'<a class="{update.classes}" href="{escape(target)}" data-node="{escape(node.id)}"{job}'
            f' transform="translate({_number(at[0])} {_number(at[1])})"><title>{escape(update.title)}</title>'
            + (f'<rect class="graph-under" x="4" y="4" width="{width}" height="{height}" rx="6"/>' * (not node.job))
            + f'<rect class="graph-box" width="{width}" height="{height}" rx="6"/>'
            f'<rect class="graph-stripe" width="5" height="{height}" rx="2"/>'
            f'<text class="graph-label" x="{_PAD}" y="18">{escape(text)}</text>'
            f'<text class="graph-state" x="{_PAD}" y="35">{escape(update.text)}</text>'
            + (f'<g class="graph-bar">{bar}</g>{more}' if node.job is None else "")
            + "</a>"
        )

    def _draw_block(self, block: str, at: Point, links: Links) -> str:
        members = [self._nodes[node] for node in self.blocks[block]]
        width, height = self._size(block)
        columns, _ = _grid(len(members))
        update = self.update_block(block)
        group = members[0].group
        title = self._block_name(members)
        head = f'<text class="graph-label" x="{_PAD}" y="19">{escape(title)}</text>'
        if self._graph.collapsed and group:
            head = (
                f'<a href="{escape(links.collapse(group))}"><title>Collapse {escape(one_line(group))}</title>{head}</a>'
            )
        start = _PAD + _LABEL_CHARACTER * (len(title) + 2)
        marks = "".join(
            self._draw_node(
                node,
                (
                    at[0] + _PAD + index % columns * (_JOB[0] + _CELL_GAP),
                    at[1] + _HEAD + index // columns * (_JOB[1] + _CELL_GAP),
                ),
                links,
                _label(node, within_block=True),
            )
            for index, node in enumerate(members)
        )
        return (
            f'<g class="{update.classes}" data-node="{escape(block)}"'
            f' transform="translate({_number(at[0])} {_number(at[1])})">'
            f'<rect class="graph-frame" width="{_number(width)}" height="{_number(height)}" rx="8"/>{head}'
            f'<text class="graph-state" x="{_number(start)}" y="19">{escape(update.text)}</text></g>{marks}'
        )

    def _block_name(self, members: Sequence[GraphNode]) -> str:
        group = members[0].group
        if not group:
            return plural(len(members), "job")
        total = sum(node.jobs for node in self._graph.nodes if group == (node.group if node.job else node.name))
        count = f": {len(members):,} of {total:,}" if len(members) < total else f" ×{total:,}"
        return cut(one_line(group), 24, "middle") + count

    def update(self, node: GraphNode) -> NodeUpdate:
        """Return the changing parts of a node."""
        classes = ["graph-node", f"graph-{node.kind}", f"state-{_leading(node.counts).label}"]
        classes += ["failed-path"] * node.is_failed_path + ["blocked"] * bool(node.blocked)
        if node.job is not None:
            return NodeUpdate(" ".join(classes), _job_text(node), self._title(node))
        text, more = _group_text(node), _group_more(node)
        return NodeUpdate(" ".join(classes), text, self._title(node), more, _bar(node.counts))

    def update_block(self, block: str) -> NodeUpdate:
        """Return the changing parts of a block."""
        counts: Counter[State] = Counter()
        for node in self.blocks[block]:
            counts.update(self._nodes[node].counts)
        return NodeUpdate("graph-block", _numbers(counts), "")

    def _title(self, node: GraphNode) -> str:
        if node.job is not None:
            text = f"{one_line(node.name)}: {_leading(node.counts).label}"
        else:
            more = "other " if node.apart else ""
            text = f"{one_line(node.name)}, {node.jobs:,} {more}jobs: {state_counts(node.counts.items())}"
        if node.held:
            text += ", held" if node.job is not None else f"; {node.held:,} held"
        if node.subtasks:
            text += f"; subtasks {node.subtasks[0]:,}/{node.subtasks[1]:,}"
        if node.blocked:
            count = "" if node.job is not None else f"{node.blocked:,} "
            text += f"; {count}blocked by a job that failed or was canceled"
        if node.id in self._within:
            text += "; some need others of them"
        if parents := self._parents.get(node.id):
            named = ", ".join(map(one_line, parents[:_NAMED]))
            text += f"; needs {named}" + (f" and {len(parents) - _NAMED:,} more" if len(parents) > _NAMED else "")
        return text


def _draw_joint(at: Point) -> str:
    x, y = at[0] + _JOINT / 2, at[1] + _JOINT / 2
    return f'<circle class="graph-joint" cx="{_number(x)}" cy="{_number(y)}" r="{_JOINT // 2}"/>'


def _label(node: GraphNode, *, within_block: bool = False) -> str:
    name = one_line(node.name)
    if node.job is None:
        count = f": {node.jobs:,} more" if node.apart else f" ×{node.jobs:,}"
        return cut(name, int((_GROUP[0] - _ROOM) / _LABEL_CHARACTER) - len(count), "middle") + count
    if within_block and node.group and name.startswith(f"{node.group}[") and name.endswith("]"):
        name = name[len(node.group) + 1 : -1]
    return cut(name, int((_JOB[0] - _ROOM) / _LABEL_CHARACTER), "middle")


def _job_text(node: GraphNode) -> str:
    state = _leading(node.counts)
    text = f"{SIGNS[state]} {state.label}"
    if node.held:
        text += ", held"
    if node.blocked:
        text += ", blocked"
    return text + (f" {node.subtasks[0]:,}/{node.subtasks[1]:,}" if node.subtasks else "")


def _group_text(node: GraphNode) -> str:
    text = _numbers(node.counts)
    return text if len(text) <= _SMALL_ROOM else cut(_numbers(node.counts, short=True), _SMALL_ROOM)


def _group_more(node: GraphNode) -> str:
    parts = ["subtasks {:,}/{:,}".format(*node.subtasks)] if node.subtasks else []
    parts += [f"{n:,} {word}" for n, word in ((node.blocked, "blocked"), (node.held, "held")) if n]
    return cut(" · ".join(parts), _SMALL_ROOM)


def _numbers(counts: Mapping[State, int], *, short: bool = False) -> str:
    """Return counts with the signs of states: `✗ 3  ✓ 12,345`; if short, `✗3 ✓12k`."""
    present = [(SIGNS[state], counts[state]) for state in _URGENT if counts.get(state)]
    if short:
        return " ".join(f"{sign}{_short(n)}" for sign, n in present)
    return "  ".join(f"{sign} {n:,}" for sign, n in present)


def _short(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number // size}{unit}" if number >= 10 * size else f"{number * 10 // size / 10}{unit}"
    return str(number)


def _leading(counts: Mapping[State, int]) -> State:
    return next(state for state in _URGENT if counts.get(state))


def _bar(counts: Mapping[State, int]) -> tuple[tuple[str, float, float], ...]:
    """Return the rectangles of a bar; few jobs of many can be seen too."""
    width, total = _GROUP[0] - 2 * _PAD, sum(counts.values())
    sizes = {state: max(_LEAST_SEGMENT, width * counts[state] / total) for state in State if counts.get(state)}
    scale = width / sum(sizes.values())
    found, x = [], float(_PAD)
    for state, size in sizes.items():
        found.append((f"fill-{state.label}", round(x, 1), round(size * scale, 1)))
        x += size * scale
    return tuple(found)


def _grid(n: int) -> tuple[int, int]:
    """Return the columns and rows of a block of n jobs, about as wide as high."""
    columns = 1
    while columns < _BLOCK_COLUMNS and columns * _JOB[0] < -(-n // columns) * _JOB[1]:
        columns += 1
    return columns, -(-n // columns)


def _edge_key(source: str, target: str) -> str:
    return f"{source} {target}"


def _middle(points: Sequence[Point]) -> Point:
    """Return the middle of the last curve of a route; of a route without curves, that of its last part."""
    parts = list(pairwise(points))
    curves = [(one, other) for one, other in parts if one[0] != other[0] and one[1] != other[1]]
    (x, y), (to_x, to_y) = (curves or parts)[-1]
    return (x + to_x) / 2, (y + to_y) / 2


def _path(points: Sequence[Point]) -> str:
    """Return the path of a route."""
    commands = [f"M{_number(points[0][0])} {_number(points[0][1])}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if x == to_x:
            commands.append(f"V{_number(to_y)}")
        elif y == to_y:
            commands.append(f"H{_number(to_x)}")
        else:
            middle = _number((x + to_x) / 2)
            commands.append(f"C{middle} {_number(y)} {middle} {_number(to_y)} {_number(to_x)} {_number(to_y)}")
    return "".join(commands)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
