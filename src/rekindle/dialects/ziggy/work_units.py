"""The units of work of a pipeline's nodes: one for each combination of the names of its inputs' varying levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.dialects.ziggy.configuration import DATA_RECEIPT, Node, Pipeline, nodes_below
from rekindle.dialects.ziggy.datastore import FileType, Values, existing_values, match, values_of_path

if TYPE_CHECKING:
    from rekindle.dialects.ziggy.manifests import Delivery


class NodeUnits(msgspec.Struct, frozen=True):
    """The units of a node, sorted: the values of each of its levels."""

    levels: tuple[str, ...] = ()
    units: tuple[Values, ...] = ()


def ordered_nodes(pipeline: Pipeline, first: str | None = None, last: str | None = None) -> list[Node]:
    """Return the nodes that follow the node `first` (or a root) and lead to `last` (or to any), each behind those that
    it follows. A name of no node is no limit."""
    nodes = pipeline.nodes
    below = nodes_below(nodes, [first] if first is not None and first in nodes else pipeline.roots)
    if last is not None and last in nodes:
        below = {name for name in below if last in nodes_below(nodes, [name])}
    found: list[Node] = []
    left = [node for name, node in nodes.items() if name in below]
    while left:
        ready = [node for node in left if not any(node.name in other.children for other in left)]
        found += ready
        left = [node for node in left if node not in ready]
    return found


def find_units(nodes: Sequence[Node], datastore: Path, deliveries: Sequence[Delivery]) -> dict[str, NodeUnits]:
    """Return the units of the nodes by name.

    A type's files are those in the datastore, those that deliveries hold, and those that earlier nodes will store.
    """
    stored: dict[str, list[Values]] = {}
    found: dict[str, NodeUnits] = {}
    for node in nodes:
        if node.name == DATA_RECEIPT:
            for one in node.inputs:
                stored.setdefault(one.name, []).extend(_delivered(one, deliveries))
            continue
        levels = node.varying
        known = [[*existing_values(datastore, one), *stored.get(one.name, ())] for one in node.inputs]
        if node.single_unit:
            units: list[Values] = [{}] if all(known) else []
        else:
            units = _joined(known)
        units = _distinct(units, levels)
        found[node.name] = NodeUnits(levels, tuple(units))
        for output in node.outputs:
            stored.setdefault(output.name, []).extend(_distinct(units, output.varying))
    return found


def _delivered(file_type: FileType, deliveries: Iterable[Delivery]) -> Iterator[Values]:
    for delivery in deliveries:
        for file in delivery.files:
            *folders, name = file.name.split("/")
            values = values_of_path(file_type.location, folders)
            if values is not None and match(file_type.pattern, name) is not None:
                yield values


def _joined(known: Iterable[Sequence[Values]]) -> list[Values]:
    """Return the combinations that have a folder of each type: their common levels have the same names."""
    units: list[Values] = [{}]
    for one in known:
        common = [level for level in (one[0] if one else ()) if units and level in units[0]]
        by_names: dict[tuple[str, ...], list[Values]] = {}
        for values in one:
            by_names.setdefault(_names(values, common), []).append(values)
        units = [{**unit, **values} for unit in units for values in by_names.get(_names(unit, common), ())]
    return units


def _names(values: Values, levels: Iterable[str]) -> tuple[str, ...]:
    return tuple(values[level] for level in levels)


def _distinct(found: Iterable[Values], levels: Sequence[str]) -> list[Values]:
    """Return the distinct values of these levels, sorted."""
    rows = sorted({_names(one, levels) for one in found})
    return [dict(zip(levels, row, strict=True)) for row in rows]


def each_needs_one(child: NodeUnits, parent: NodeUnits) -> bool:
    """Return whether each unit of the child has a unit of the parent with the same names of the common levels."""
    common = [level for level in child.levels if level in parent.levels]
    return {_names(one, common) for one in child.units} <= {_names(one, common) for one in parent.units}
