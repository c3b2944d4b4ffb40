"""`matrix:` and `zip:`: the jobs that one entry of the spec stands for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rekindle.domain.texts.substitution import render_value, word
from rekindle.spec.nodes import Entry, Items, Node, Scalar, Table, describe, from_python
from rekindle.spec.problems import Place, Problems
from rekindle.spec.references import Known, check_text
from rekindle.spec.values import VALUE_NAME, check_keys, data, named

MOST_JOBS = 5_000_000
"""Of one matrix."""

_Choice = tuple[str, dict[str, Any]]
"""What a value adds to the job's name (`alpha=0.1`), and to its binding."""


@dataclass(slots=True)
class Expansion:
    """The jobs of one entry. With no axes it is one job, named like the entry, with the `given` values."""

    axes: list[list[_Choice]] = field(default_factory=list)
    keys: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    sound: bool = True  # False: something is wrong, so that the names of the jobs are not known

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    def jobs(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each job's name and binding: the last key varies fastest."""
        if not self.axes:
            yield name, dict(self.given)
            return
        for choices in itertools.product(*self.axes):
            binding: dict[str, Any] = {}
            for _, values in choices:
                binding.update(values)
            yield f"{name}[{','.join([label for label, _ in choices])}]", binding


def read_expansion(
    job: Table, params: Mapping[str, Any], problems: Problems, given: Mapping[str, Any] | None = None
) -> Expansion:
    """What the entry's `matrix` and `zip` make: the matrix's values crossed in the order of its keys, crossed with
    the rows of the zip. With `given` values it has neither."""
    before = len(problems)
    if given is not None:
        for kind in ("matrix", "zip"):
            if kind in job.entries:
                problems.add(job.entries[kind].place, f"an entry with `values` has no `{kind}`", "it is one job")
        return Expansion([], tuple(given), dict(given))
    matrix, zipped = (
        {
            key: _values(key, entry, params, problems)
            for key, entry in named(job.get(kind), f"`{kind}`", VALUE_NAME, problems).items()
        }
        for kind in ("matrix", "zip")
    )
    for kind, columns in (("matrix", matrix), ("zip", zipped)):
        node = job.get(kind)
        if node is not None and not columns and len(problems) == before:
            problems.add(node.place, f"`{kind}` is empty", "give it a list of values, or leave it out")
    for key in matrix.keys() & zipped.keys():
        problems.add(job.entries["zip"].place, f"{key!r} is in `matrix` and in `zip`", "a value has one of the two")
    _check_lengths(job, zipped, problems)
    expansion = Expansion([], (*matrix, *zipped))
    if len(problems) > before:
        expansion.sound = False
        return expansion
    expansion.axes = [[(f"{key}={word(value)}", {key: value}) for value in values] for key, values in matrix.items()]
    if zipped:
        expansion.axes.append([_row(zipped, values) for values in zip(*zipped.values(), strict=True)])
    if len(expansion) > MOST_JOBS:
        place = job.entries["matrix" if matrix else "zip"].place
        problems.add(place, f"makes {len(expansion):,} jobs; {MOST_JOBS:,} are the most", "make fewer, larger jobs")
        expansion.sound = False
    return expansion


def _row(zipped: Mapping[str, list[Any]], values: tuple[Any, ...]) -> _Choice:
    row = dict(zip(zipped, values, strict=True))
    return ",".join([f"{key}={word(value)}" for key, value in row.items()]), row


def _check_lengths(job: Table, zipped: Mapping[str, list[Any]], problems: Problems) -> None:
    lengths = {key: len(values) for key, values in zipped.items() if values}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        problems.add(
            job.entries["zip"].place, f"the lists of `zip` differ in length: {told}", "each row takes one of each"
        )


def _values(key: str, entry: Entry, params: Mapping[str, Any], problems: Problems) -> list[Any]:
    """The values of one key, from a list or a range; what is wrong is told."""
    node = _settled(entry.node, params, problems)
    if isinstance(node, Table):
        return _range(key, node, params, problems)
    if not isinstance(node, Items):
        problems.add(
            node.place,
            f"{key!r} must be a list or a range, and is {describe(node)}",
            "as in [1, 2] or {range: [0, 10]}",
        )
        return []
    if not node.items:
        problems.add(node.place, f"the list of {key!r} is empty", "no job would be made")
    seen: set[str] = set()
    values = []
    for item in node.items:
        scalar = _settled(item, params, problems)
        if _is_value(key, scalar, problems):
            value = data(scalar, f"the value of {key!r}", problems)
            if word(value) in seen:
                problems.add(
                    item.place, f"{key!r} has the value {describe(scalar)} twice", "two jobs would have one name"
                )
            seen.add(word(value))
            values.append(value)
    return values


def _is_value(key: str, node: Node, problems: Problems) -> bool:
    if not isinstance(node, Scalar) or node.value is None:
        problems.add(node.place, f"a value of {key!r} must be a text, number, true or false, and is {describe(node)}")
        return False
    if isinstance(node.value, str) and not (node.value.isprintable() and node.value.strip()):
        problems.add(
            node.place,
            f"a value of {key!r} is empty or not printable: {describe(node)}",
            "it becomes part of a job's name",
        )
        return False
    return True


def _range(key: str, node: Table, params: Mapping[str, Any], problems: Problems) -> list[int]:
    """`{range: [start, stop]}` or `{range: [start, stop, step]}`, whole numbers, without the stop."""
    check_keys(node, ("range",), f"the value of {key!r}", problems)
    bounds = node.get("range")
    if bounds is None:
        if not node.entries:
            problems.add(node.place, f"{key!r} is empty", _RANGE)
        return []
    numbers = [_bound(item, params, problems) for item in bounds.items] if isinstance(bounds, Items) else []
    if not 2 <= len(numbers) <= 3 or None in numbers or 0 in numbers[2:]:
        problems.add(bounds.place, f"the range of {key!r} must be two or three whole numbers", _RANGE)
        return []
    span = range(*[number for number in numbers if number is not None])
    if not span:
        problems.add(bounds.place, f"the range of {key!r} is empty", "no job would be made; the stop is left out")
    if len(span) > MOST_JOBS:
        problems.add(bounds.place, f"the range of {key!r} has {len(span):,} values; {MOST_JOBS:,} are the most")
        return []
    return list(span)


_RANGE = "as in {range: [0, 10]}, or with a step {range: [0, 10, 2]}; the stop is left out"


def _bound(node: Node, params: Mapping[str, Any], problems: Problems) -> int | None:
    settled = _settled(node, params, problems)
    value = settled.value if isinstance(settled, Scalar) else None
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62
    return value if is_number and isinstance(value, int) else None


def _settled(node: Node, params: Mapping[str, Any], problems: Problems) -> Node:
    """A text with `${params.…}` as what it stands for: a list or number stays one."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or "${" not in node.value:
        return node
    before = len(problems)
    found = check_text(node.value, node.place, Known(params, job=False, matrix=()), problems)
    if not found or len(problems) > before:
        return node
    return from_python(render_value(node.value, {"params": params}), node.place, problems)


def check_names(name: str, place: Place, names: list[str], problems: Problems) -> None:
    """Texts with commas can make two combinations look alike."""
    seen: set[str] = set()
    for job in names:
        if job in seen:
            problems.add(
                place, f"two jobs of {name!r} are named {job!r}", "change the values, so that no two look alike"
            )
            return
        seen.add(job)
