"""Draw less of a graph: fold its groups until there are few enough, and find nodes and edges that
can be drawn together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from rekindle.domain.graph_layout import assign_layers
from rekindle.domain.texts.regexes import lazy_regex

_DIGITS = lazy_regex("[0-9]+")


def fold(
    names: Sequence[str],
    edges: Sequence[tuple[int, int]],
    limit: int,
    opened: Collection[str] = (),
    most_opened: int = 0,
    urgent: Collection[str] = (),
) -> list[str]:
    """Return the fold of each group: its own name where it stays by itself.

    Groups of one layer are folded whose names differ in numbers only (`layer 3: fit_#`); if these are still too many,
    all groups of a layer (`layer 3`), or of consecutive layers (`layers 4-6`). Edges between folds lead from lower to
    higher layers, but for those that close a cycle between groups. The folds in `opened` are not made; if they have
    more groups than `most_opened`, urgent groups stay by themselves first."""
    if len(names) <= limit:
        return list(names)
    layers, _ = assign_layers(len(names), edges)
    keys = [f"layer {layer + 1}: {_DIGITS.sub('#', name)}" for name, layer in zip(names, layers, strict=True)]
    if len(set(keys)) > limit:
        height = -(-(max(layers) + 1) // limit)
        keys = [_band(layer // height * height, height, max(layers)) for layer in layers]
    sizes = Counter(keys)
    found = [name if sizes[key] == 1 else key for name, key in zip(names, keys, strict=True)]
    within = [index for index, key in enumerate(keys) if key in opened]
    within.sort(key=lambda index: names[index] not in urgent)
    for index in within[:most_opened]:
        found[index] = names[index]
    return found


def _band(first: int, height: int, last: int) -> str:
    end = min(first + height - 1, last)
    return f"layer {first + 1}" if end == first else f"layers {first + 1}-{end + 1}"


def find_blocks(groups: Mapping[str, str], edges: Iterable[tuple[str, str]], at_least: int) -> list[list[str]]:
    """Return the nodes that have the same group, parents and children, at least `at_least` together. `groups` has the
    group of each node; edges to and from other nodes count too. One edge of the block stands for the edges of all."""
    parents: dict[str, set[str]] = {node: set() for node in groups}
    children: dict[str, set[str]] = {node: set() for node in groups}
    for source, target in edges:
        if source in children:
            children[source].add(target)
        if target in parents:
            parents[target].add(source)
    found: dict[tuple[str, frozenset[str], frozenset[str]], list[str]] = {}
    for node, group in groups.items():
        found.setdefault((group, frozenset(parents[node]), frozenset(children[node])), []).append(node)
    return [nodes for nodes in found.values() if len(nodes) >= at_least]


def find_joints(
    groups: Mapping[str, str], edges: Iterable[tuple[str, str]], at_least: int
) -> list[tuple[list[str], list[str]]]:
    """Return pairs of sources and targets where each source has an edge to each target: their edges can pass one
    point. Each edge is in one pair at most. The sources of a pair are of one group, and it has at least `at_least`
    edges."""
    parents: dict[tuple[str, str], list[str]] = {}
    for source, target in sorted(edges):
        parents.setdefault((target, groups.get(source, "")), []).append(source)
    found: dict[tuple[str, ...], list[str]] = {}
    for (target, _), sources in parents.items():
        found.setdefault(tuple(sources), []).append(target)
    return [
        (list(sources), targets)
        for sources, targets in found.items()
        if min(len(sources), len(targets)) > 1 and len(sources) * len(targets) >= at_least
    ]
