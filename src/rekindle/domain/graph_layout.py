"""Lay a directed graph out in columns: the layer of each node, its place in the layer, and the routes of the edges.

Edges go to the right. Each layer is a column, and edges bend only in the gaps between columns, so that no edge crosses
a box. A long edge passes the columns between its ends at places that are kept free for it; long edges with the same
source, or the same target, share these places. Where they would cost too much, and for the edges that close a cycle,
there are lanes below the boxes. The time is about linear in nodes and edges; nothing here recurses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import pairwise

import msgspec

from rekindle.domain.graph import topological_order

Point = tuple[float, float]
Edge = tuple[str, str]
"""(source, target), by the ids of boxes."""

COLUMN_GAP = 48
ROW_GAP = 12
MARGIN = 32
LANE_GAP = 8
LANES = 8  # beside each other; further edges share them
_PASSAGE = 10  # the height of a place where a long edge passes
_PASSED_PER_BOX, _PASSED_AT_LEAST = 4, 4_000
"""The columns that all long edges together may pass; the other edges go through lanes."""
_ORDER_SWEEPS, _PLACE_SWEEPS = 4, 4


class Box(msgspec.Struct, frozen=True):
    """A node to place, with its size."""

    id: str
    width: float
    height: float


class Route(msgspec.Struct, frozen=True):
    """An edge as points. Two points with the same x or y are joined by a straight line, others by a curve that leaves
    and arrives horizontally. `backward`: the edge closes a cycle, and its target is not right of its source."""

    source: str
    target: str
    points: tuple[Point, ...]
    backward: bool = False


class Layout(msgspec.Struct, frozen=True):
    """The top left corners of the boxes by id, in reading order (column by column), and a route for each edge."""

    width: float
    height: float
    positions: Mapping[str, Point]
    layers: Mapping[str, int]
    routes: tuple[Route, ...]


def lay_out(boxes: Sequence[Box], edges: Iterable[Edge]) -> Layout:
    """Lay out boxes and edges. Equal arguments give equal layouts. Edges from a box to itself, and repeated ones, are
    left out."""
    number = {box.id: index for index, box in enumerate(boxes)}
    pairs = list(dict.fromkeys((number[source], number[target]) for source, target in edges if source != target))
    layers, backward = assign_layers(len(boxes), pairs)
    plan = _Plan(boxes, layers, pairs, backward)
    plan.sort_layers()
    columns = _columns(boxes, layers)
    tops, lanes, height = _stack(plan)
    positions, box_layers = {}, {}
    for layer in _by_layer(range(len(boxes)), layers):
        for node in sorted(layer, key=tops.__getitem__):
            left, width = columns[layers[node]]
            positions[boxes[node].id] = (left + (width - boxes[node].width) / 2, tops[node])
            box_layers[boxes[node].id] = layers[node]
    router = _Router(plan, columns, tops, lanes, positions)
    routes = tuple(router.route(position) for position in range(len(pairs)))
    left, width = columns[-1] if columns else (MARGIN, 0)
    return Layout(left + width + MARGIN, height, positions, box_layers, routes)


def assign_layers(n: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], set[int]]:
    """Return the layer of each of n nodes, and the positions of the edges that close a cycle. Every other edge leads to
    a higher layer. A node without parents is as near to its children as it can be."""
    order = topological_order(n, edges)
    if len(order) < n:
        order = _order_with_cycles(n, edges)
    rank = {node: position for position, node in enumerate(order)}
    backward = {position for position, (source, target) in enumerate(edges) if rank[source] > rank[target]}
    children: list[list[int]] = [[] for _ in range(n)]
    has_parents = [False] * n
    for position, (source, target) in enumerate(edges):
        has_parents[target] = True
        if position not in backward:
            children[source].append(target)
    layers = [0] * n
    for node in order:
        for child in children[node]:
            if layers[child] <= layers[node]:
                layers[child] = layers[node] + 1
    for node in order:
        if children[node] and not has_parents[node]:
            layers[node] = min(map(layers.__getitem__, children[node])) - 1
    return layers, backward


def _order_with_cycles(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the nodes, parents before children but for the edges that close a cycle: only edges within a strongly
    connected part are cut. Of several nodes, the smallest comes first."""
    part = _strong_parts(n, edges)
    children: list[list[int]] = [[] for _ in range(n)]
    unmet, outer = [0] * n, [0] * n
    for source, target in edges:
        children[source].append(target)
        unmet[target] += 1
        outer[target] += part[source] != part[target]
    ready = [node for node in range(n) if not unmet[node]]
    possible = [node for node in range(n) if not outer[node]]  # a heap: they may go first of their part
    order: list[int] = []
    done = [False] * n
    while len(order) < n:
        node = heappop(ready) if ready else heappop(possible)
        if done[node]:
            continue
        done[node] = True
        order.append(node)
        for child in children[node]:
            unmet[child] -= 1
            if not unmet[child]:
                heappush(ready, child)
            if part[child] != part[node]:
                outer[child] -= 1
                if not outer[child]:
                    heappush(possible, child)
    return order


def _strong_parts(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each node a number that exactly the nodes of its strongly connected part have (Kosaraju)."""
    below: list[list[int]] = [[] for _ in range(n)]
    above: list[list[int]] = [[] for _ in range(n)]
    for source, target in edges:
        below[source].append(target)
        above[target].append(source)
    finished: list[int] = []
    seen = [False] * n
    for first in range(n):
        stack = [] if seen[first] else [(first, iter(below[first]))]
        seen[first] = True
        while stack:
            node, rest = stack[-1]
            following = next((child for child in rest if not seen[child]), None)
            if following is None:
                finished.append(stack.pop()[0])
            else:
                seen[following] = True
                stack.append((following, iter(below[following])))
    part = [-1] * n
    for first in reversed(finished):
        if part[first] < 0:
            part[first], reached = first, [first]
            for node in reached:  # grows during the loop
                for parent in above[node]:
                    if part[parent] < 0:
                        part[parent] = first
                        reached.append(parent)
    return part


class _Plan:
    """Boxes and passages by layer, in order, with the links between adjacent layers. Passages have the numbers after
    the boxes."""

    def __init__(
        self,
        boxes: Sequence[Box],
        layers: Sequence[int],
        edges: Sequence[tuple[int, int]],
        backward: set[int],
    ) -> None:
        self.boxes, self.edges, self.backward = boxes, edges, backward
        self.layers = list(layers)
        self.heights = [box.height for box in boxes]
        self.passages: dict[tuple[int, bool], dict[int, int]] = {}  # by (node, whether it is the source) and layer
        self.shares: dict[int, tuple[int, bool]] = {}  # by edge: the passages that it uses
        self.in_lanes = set(backward)
        self._choose_passages()
        links = list(dict.fromkeys(link for position in range(len(edges)) for link in self._links(position)))
        self.parents: list[list[int]] = [[] for _ in self.layers]
        self.children: list[list[int]] = [[] for _ in self.layers]
        for source, target in links:
            self.parents[target].append(source)
            self.children[source].append(target)
        self.components = self._find_components()

    def chain(self, position: int) -> list[int]:
        """Return what an edge that is in no lane goes through: its source, passages, and its target."""
        source, target = self.edges[position]
        if position not in self.shares:
            return [source, target]
        shared = self.passages[self.shares[position]]
        between = range(self.layers[source] + 1, self.layers[target])
        return [source, *(shared[layer] for layer in between), target]

    def sort_layers(self) -> None:
        """Order each layer by the mean places of its parents and of its children, in turn. Components stay apart."""
        for component in self.components:
            self._sort_component(component)

    def _sort_component(self, component: list[list[int]]) -> None:
        places = {node: float(index) for layer in component for index, node in enumerate(layer)}
        for sweep in range(_ORDER_SWEEPS):
            nearest = self.children if sweep % 2 else self.parents
            for layer in reversed(component) if sweep % 2 else component:
                if len(layer) > 1:
                    keys = {node: _mean(nearest[node], places, places[node]) for node in layer}
                    layer.sort(key=keys.__getitem__)
                    places.update(zip(layer, map(float, range(len(layer))), strict=True))

    def _choose_passages(self) -> None:
        """Give long edges their passages, those of short spans first, until there are too many."""
        long = [
            (position, source, target)
            for position, (source, target) in enumerate(self.edges)
            if position not in self.backward and self.layers[target] - self.layers[source] > 1
        ]
        from_source = Counter(source for _, source, _ in long)
        to_target = Counter(target for _, _, target in long)
        groups: dict[tuple[int, bool], list[int]] = {}
        for position, source, target in long:
            by_source = from_source[source] >= to_target[target]
            groups.setdefault((source if by_source else target, by_source), []).append(position)
        spans = {}
        for key, positions in groups.items():
            firsts = min(self.layers[self.edges[position][0]] for position in positions) + 1
            lasts = max(self.layers[self.edges[position][1]] for position in positions) - 1
            spans[key] = (firsts, lasts)
        left = max(_PASSED_AT_LEAST, _PASSED_PER_BOX * len(self.boxes))
        for key in sorted(groups, key=lambda key: (spans[key][1] - spans[key][0]) * len(groups[key])):
            first, last = spans[key]
            left -= (last - first + 1) * len(groups[key])
            if left < 0:
                self.in_lanes.update(groups[key])
                continue
            self.passages[key] = {layer: len(self.layers) + layer - first for layer in range(first, last + 1)}
            self.layers.extend(range(first, last + 1))
            self.heights.extend([_PASSAGE] * (last - first + 1))
            self.shares.update(dict.fromkeys(groups[key], key))

    def _links(self, position: int) -> Iterable[tuple[int, int]]:
        if position in self.in_lanes:
            return ()
        chain = self.chain(position)
        return pairwise(chain)

    def _find_components(self) -> list[list[list[int]]]:
        """Return the layers of each connected part, parts by their first box. An edge in a lane connects too."""
        beside: list[list[int]] = [[] for _ in self.layers]
        for position in self.in_lanes:
            source, target = self.edges[position]
            beside[source].append(target)
            beside[target].append(source)
        seen = [False] * len(self.layers)
        found = []
        for first in range(len(self.boxes)):
            if seen[first]:
                continue
            seen[first], nodes = True, [first]
            for node in nodes:  # grows during the loop
                for others in (self.parents[node], self.children[node], beside[node]):
                    for other in others:
                        if not seen[other]:
                            seen[other] = True
                            nodes.append(other)
            found.append(_by_layer(sorted(nodes), self.layers))
        return found


def _by_layer(nodes: Iterable[int], layers: Sequence[int]) -> list[list[int]]:
    """Return nodes by layer, the lowest first; layers without a node are left out."""
    found: dict[int, list[int]] = {}
    for node in nodes:
        found.setdefault(layers[node], []).append(node)
    return [found[layer] for layer in sorted(found)]


def _mean(nodes: Sequence[int], places: Mapping[int, float], otherwise: float) -> float:
    if not nodes:
        return otherwise
    return sum(map(places.__getitem__, nodes)) / len(nodes)


def _columns(boxes: Sequence[Box], layers: Sequence[int]) -> list[tuple[float, float]]:
    """Return the left edge and the width of each column."""
    widths = [0.0] * (max(layers, default=-1) + 1)
    for box, layer in zip(boxes, layers, strict=True):
        widths[layer] = max(widths[layer], box.width)
    left, columns = float(MARGIN), []
    for width in widths:
        columns.append((left, width))
        left += width + COLUMN_GAP
    return columns


def _stack(plan: _Plan) -> tuple[list[float], dict[int, tuple[int, float]], float]:
    """Return the top of each box and passage, the lane of each edge that is in one (its number, and its y), and the
    height of all. The connected parts are below each other."""
    tops = [0.0] * len(plan.layers)
    lanes: dict[int, tuple[int, float]] = {}
    owners: dict[int, list[int]] = {}
    for position in sorted(plan.in_lanes):
        owners.setdefault(plan.edges[position][0], []).append(position)
    y = float(MARGIN)
    for component in plan.components:
        centres = _place(plan, component)
        top = min(centres[node] - plan.heights[node] / 2 for layer in component for node in layer)
        bottom = y
        for layer in component:
            for node in layer:
                tops[node] = centres[node] - plan.heights[node] / 2 - top + y
                bottom = max(bottom, tops[node] + plan.heights[node])
        with_lanes = [node for layer in component for node in layer if node in owners]
        for index, node in enumerate(with_lanes):
            lane = index % LANES
            for position in owners[node]:
                lanes[position] = (lane, bottom + ROW_GAP + lane * LANE_GAP)
        y = bottom + ROW_GAP + (ROW_GAP + min(len(with_lanes), LANES) * LANE_GAP if with_lanes else 0)
    return tops, lanes, y - ROW_GAP + MARGIN if plan.components else 2 * MARGIN


def _place(plan: _Plan, component: Sequence[Sequence[int]]) -> dict[int, float]:
    """Return the centres of the nodes of a connected part. Each is as near to the mean of its parents (or children, in
    turn) as the order and the gaps allow."""
    centres: dict[int, float] = {}
    offsets = []
    for layer in component:
        offset, before, inner = 0.0, 0.0, []
        for index, node in enumerate(layer):
            offset += (before + plan.heights[node]) / 2 + (ROW_GAP if index else 0)
            before = plan.heights[node]
            inner.append(offset)
        middle = (offset + before / 2) / 2
        centres.update((node, at - middle) for node, at in zip(layer, inner, strict=True))
        offsets.append(inner)
    for sweep in range(_PLACE_SWEEPS):
        nearest = plan.children if sweep % 2 == 0 else plan.parents
        order = range(len(component))
        for index in reversed(order) if sweep % 2 == 0 else order:
            layer, inner = component[index], offsets[index]
            wanted = [_mean(nearest[node], centres, centres[node]) - at for node, at in zip(layer, inner, strict=True)]
            placed = _nondecreasing(wanted)
            centres.update((node, at + base) for node, at, base in zip(layer, inner, placed, strict=True))
    return centres


def _nondecreasing(wanted: Sequence[float]) -> list[float]:
    """Return the whole numbers that never decrease and are (before rounding) nearest to the wanted ones, by least
    squares: pool adjacent violators."""
    totals: list[float] = []
    sizes: list[int] = []
    for value in wanted:
        total, size = value, 1
        while totals and totals[-1] * size >= total * sizes[-1]:
            total += totals.pop()
            size += sizes.pop()
        totals.append(total)
        sizes.append(size)
    placed: list[float] = []
    for total, size in zip(totals, sizes, strict=True):
        placed.extend([float(round(total / size))] * size)
    return placed


class _Router:
    """The points of each edge."""

    def __init__(
        self,
        plan: _Plan,
        columns: Sequence[tuple[float, float]],
        tops: Sequence[float],
        lanes: Mapping[int, tuple[int, float]],
        positions: Mapping[str, Point],
    ) -> None:
        self._plan, self._columns, self._tops, self._lanes, self._positions = plan, columns, tops, lanes, positions

    def route(self, position: int) -> Route:
        """Return the route of an edge."""
        source, target = (self._plan.boxes[node] for node in self._plan.edges[position])
        points = self._through_lane(position) if position in self._lanes else self._through_columns(position)
        start = (self._positions[source.id][0] + source.width, points[0][1])
        end = (self._positions[target.id][0], points[-1][1])
        every = [start, *points, end]
        kept = [every[0], *(here for before, here in pairwise(every) if here != before)]
        return Route(source.id, target.id, tuple(kept), position in self._plan.backward)

    def _through_columns(self, position: int) -> list[Point]:
        points: list[Point] = []
        chain = self._plan.chain(position)
        for index, node in enumerate(chain):
            left, width = self._columns[self._plan.layers[node]]
            y = self._centre(node)
            if index:
                points.append((left, y))
            if index < len(chain) - 1:
                points.append((left + width, y))
        return points

    def _through_lane(self, position: int) -> list[Point]:
        source, target = self._plan.edges[position]
        lane, y = self._lanes[position]
        aside = LANE_GAP + 3 * lane
        left, width = self._columns[self._plan.layers[source]]
        out, into = left + width + aside, self._columns[self._plan.layers[target]][0] - aside
        start, end = self._centre(source), self._centre(target)
        return [(out, start), (out, y), (into, y), (into, end)]

    def _centre(self, node: int) -> float:
        return self._tops[node] + self._plan.heights[node] / 2
