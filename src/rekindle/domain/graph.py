"""Algorithms on directed graphs of integers: order, cycles, descendants, unreachable jobs. Nothing here recurses."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence

Edge = tuple[int, int]
"""(parent, child)."""


def topological_order(n: int, edges: Sequence[Edge]) -> list[int]:
    """Return the nodes 0 … n-1, parents before children. Nodes on or behind a cycle are omitted, so the result is
    shorter than `n` exactly if there is a cycle. Nodes without parents come first, in order."""
    return _peel(n, edges)[0]


def find_cycle(n: int, edges: Sequence[Edge]) -> list[int] | None:
    """Return the nodes of one cycle in edge order, the smallest node first; None if there is no cycle.

    Time and memory are linear in nodes and edges: a million of each take one or two seconds, and a tenth of that if
    each node comes after its parents."""
    if all(parent < child for parent, child in edges):
        return None
    order, unmet = _peel(n, edges)
    if len(order) == n:
        return None
    back: dict[int, int] = {}
    for parent, child in edges:
        if unmet[parent] and unmet[child]:
            back.setdefault(child, parent)
    return _walk_back(back, min(back))


def _peel(n: int, edges: Sequence[Edge]) -> tuple[list[int], list[int]]:
    """Run Kahn's algorithm. Return the order, and for each node the number of parents that were never reached."""
    unmet = [0] * n
    first = [-1] * n  # linked lists of edges use far less memory than a list per parent
    following = [-1] * len(edges)
    for position, (parent, child) in enumerate(edges):
        unmet[child] += 1
        following[position] = first[parent]
        first[parent] = position
    order = [node for node in range(n) if not unmet[node]]
    for node in order:  # grows during the loop
        position = first[node]
        while position >= 0:
            child = edges[position][1]
            unmet[child] -= 1
            if not unmet[child]:
                order.append(child)
            position = following[position]
    return order, unmet


def _walk_back(back: Mapping[int, int], start: int) -> list[int]:
    """Return a cycle of `back`. Every node in it has a parent in it, so walking up must reach a node twice."""
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
    """Return the nearest start of each node that is reachable from `starts` over at least one edge; the smallest one of
    several equally near. A start is included only if another start reaches it.

    With `adjacent` the children, these are the descendants and their nearest ancestors among `starts`; with the
    parents, the reverse. `within` limits the walk to some nodes."""
    level = sorted(set(starts))
    origin = {node: node for node in level}
    reached: dict[int, int] = {}
    while level:
        following = []
        for node in level:  # ordered by origin: the first one found is the smallest
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
    """Return every node below `starts`; a start itself only if it is below another."""
    return set(nearest_start(children, starts))


def unreachable_jobs(
    ended_badly: Iterable[int], idle: Container[int], children: Mapping[int, Sequence[int]]
) -> set[int]:
    """Return the jobs that will not complete: those that failed or were canceled, and all jobs among `idle` that need
    one of these, directly or not.

    These jobs count as finished for `when: finished`. `idle` holds jobs that have no attempt, are not canceled, and
    need their parents completed. Jobs due for a retry have not failed."""
    found = set(ended_badly)
    level = list(found)
    for job in level:  # grows during the loop
        for child in children.get(job, ()):
            if child in idle and child not in found:
                found.add(child)
                level.append(child)
    return found
