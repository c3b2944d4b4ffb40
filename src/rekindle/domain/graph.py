"""Questions about directed graphs of integers: orders, cycles, what lies below what. Nothing here recurses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

Edge = tuple[int, int]
"""(parent, child)."""


def topological_order(n: int, edges: Sequence[Edge]) -> list[int]:
    """The nodes 0 … n-1, parents before children. Nodes on a cycle or behind one are left out, so that the
    answer is shorter than `n` exactly when there is a cycle. Nodes without parents come first, in order."""
    return _peel(n, edges)[0]


def find_cycle(n: int, edges: Sequence[Edge]) -> list[int] | None:
    """The nodes of one cycle in the order of its edges, its smallest node first; None: there is none.

    Takes time and memory in proportion to nodes and edges: a million of each in a second or two."""
    order, unmet = _peel(n, edges)
    if len(order) == n:
        return None
    back: dict[int, int] = {}
    for parent, child in edges:
        if unmet[parent] and unmet[child]:
            back.setdefault(child, parent)
    return _walk_back(back, min(back))


def _peel(n: int, edges: Sequence[Edge]) -> tuple[list[int], list[int]]:
    """Kahn's algorithm: the order, and for each node how many parents were never reached."""
    unmet = [0] * n
    first = [-1] * n  # a chain of edges for each parent: far smaller than a list for each
    following = [-1] * len(edges)
    for position, (parent, child) in enumerate(edges):
        unmet[child] += 1
        following[position] = first[parent]
        first[parent] = position
    order = [node for node in range(n) if not unmet[node]]
    for node in order:  # grows while it is read
        position = first[node]
        while position >= 0:
            child = edges[position][1]
            unmet[child] -= 1
            if not unmet[child]:
                order.append(child)
            position = following[position]
    return order, unmet


def _walk_back(back: Mapping[int, int], start: int) -> list[int]:
    """Every node of `back` has a parent in it: going up must come round."""
    seen: dict[int, int] = {}
    node = start
    while node not in seen:
        seen[node] = len(seen)
        node = back[node]
    cycle = list(seen)[seen[node] :]
    cycle.reverse()
    smallest = cycle.index(min(cycle))
    return cycle[smallest:] + cycle[:smallest]


def nearest_start(
    adjacent: Mapping[int, Sequence[int]], starts: Iterable[int], within: Collection[int] | None = None
) -> dict[int, int]:
    """For each node that is reached from `starts` over at least one edge, the start that is nearest to it; of
    several as near, the smallest. A start is in the answer only where another one reaches it.

    With `adjacent` the children, these are the descendants and their nearest ancestors among `starts`; with the
    parents it is the other way round. `within` keeps the walk to some nodes."""
    level = sorted(set(starts))
    origin = {node: node for node in level}
    reached: dict[int, int] = {}
    while level:
        following = []
        for node in level:  # by origin: who comes first has the smallest
            start = origin[node]
            for other in adjacent.get(node, ()):
                if other in reached or (within is not None and other not in within):
                    continue
                reached[other] = start
                if other not in origin:
                    origin[other] = start
                    following.append(other)
        level = following
    return reached


def descendants(children: Mapping[int, Sequence[int]], starts: Iterable[int]) -> set[int]:
    """Every node below `starts`; a start itself only where it is below another."""
    return set(nearest_start(children, starts))
