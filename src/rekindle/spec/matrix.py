"""Expand `matrix:` and `zip:` into the jobs of one entry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.definition import JobNode, matrix_label, normalize_name, value_label
from rekindle.domain.expansion import Axis, MatrixJobs
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.substitution import format_word, render_value
from rekindle.spec.nodes import (
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SourcePlace,
    describe,
    from_python,
)
from rekindle.spec.references import KnownNames, check_text
from rekindle.spec.values import VALUE_NAME, check_keys, data, named

MAX_JOBS = 5_000_000
"""Limit for one matrix."""

EXCLUDE, INCLUDE = "exclude", "include"
"""Keys of `matrix` that are not axes."""

_Values = Mapping[str, Any]
"""Matrix values by key."""


class Expansion(msgspec.Struct):
    """The jobs of one entry. Without axes and included combinations, the entry is one job with the `given` values."""

    axes: list[Axis] = msgspec.field(default_factory=list)
    keys: tuple[str, ...] = ()  # every key that any of the jobs has
    given: Mapping[str, Any] = msgspec.field(default_factory=dict)
    valid: bool = True  # False: invalid, so the jobs' names are not known
    excluded: Sequence[_Values] = ()
    included: Sequence[_Values] = ()

    def jobs(self, name: str, template: int) -> MatrixJobs | list[JobNode]:
        """Return the jobs of the entry `name`. The last key varies fastest; included combinations come last.

        A combination that contains an excluded one is left out. An included combination extends every combination
        whose own values it does not contradict, without changing the name; if several add the same key, the last wins.
        An included combination that extends none becomes a job of its own, named by all its values.
        """
        if self.axes and not self.included and not self.excluded:
            return MatrixJobs(name, template, self.axes)
        if not self.axes and not self.included:
            return [JobNode(name, template, dict(self.given))]
        return [JobNode(label, template, values) for label, values in self._changed(name)]

    def is_empty(self) -> bool:
        """Return whether the excluded combinations leave none."""
        return next(self._changed(""), None) is None

    def _changed(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        added = [False] * len(self.included)
        for job in MatrixJobs(name, 0, self.axes) if self.axes else ():
            values = job.binding
            if self.excluded and any(_is_within(one, values) for one in self.excluded):
                continue
            binding = dict(values)
            for at, one in enumerate(self.included):
                if _is_within({key: value for key, value in one.items() if key in values}, values):
                    added[at] = True
                    binding.update((key, value) for key, value in one.items() if key not in values)
            yield job.name, binding
        for one, is_added in zip(self.included, added, strict=True):
            if not is_added:
                yield f"{name}[{matrix_label(one)}]", dict(one)


def _is_within(some: _Values, values: _Values) -> bool:
    """Return whether `values` contains all of `some`. Values compare as written: 3.8 equals "3.8"."""
    return all(format_word(values[key]) == format_word(value) for key, value in some.items())


def read_expansion(
    job: MappingNode, params: Mapping[str, Any], problems: Problems, given: Mapping[str, Any] | None = None
) -> Expansion:
    """Read `matrix` and `zip` of an entry.

    The matrix's values are crossed in the order of its keys, then with the rows of the zip; `exclude` and `include`
    apply to the result. An entry with `given` values has neither key.
    """
    before = len(problems)
    if given is not None:
        for kind in ("matrix", "zip"):
            if kind in job.entries:
                problems.add(job.entries[kind].place, f"an entry with `values` has no `{kind}`", "it is one job")
        return Expansion([], tuple(given), dict(given))
    if "matrix" not in job.entries and "zip" not in job.entries:
        return Expansion()
    entries = named(job.get("matrix"), "`matrix`", VALUE_NAME, problems)
    changes = {key: entries.pop(key) for key in (EXCLUDE, INCLUDE) if key in entries}
    matrix = {key: _read_values(key, entry, params, problems, once=True) for key, entry in entries.items()}
    zipped = _read_zip(job, params, problems)
    for kind, columns in (("matrix", matrix), ("zip", zipped)):
        node = job.get(kind)
        if node is not None and not columns and len(problems) == before and not (kind == "matrix" and changes):
            problems.add(node.place, f"`{kind}` is empty", "give it a list of values, or leave it out")
    for key in matrix.keys() & zipped.keys():
        problems.add(job.entries["zip"].place, f"{key!r} is in `matrix` and in `zip`", "use one of the two")
    _check_lengths(job, zipped, problems)
    valid = len(problems) == before
    axes = [Axis((key,), (values,)) for key, values in matrix.items()]
    if zipped and valid:
        axes.append(Axis(tuple(zipped), tuple(zipped.values())))
    keys = (*matrix, *zipped)
    excluded = _read_combinations(EXCLUDE, changes, params, problems)
    _check_excluded(excluded, keys, axes if valid else [], problems)
    included = [
        {key: values[key] for key in (*keys, *values) if key in values}
        for _, values in _read_combinations(INCLUDE, changes, params, problems)
    ]
    keys = tuple(dict.fromkeys((*keys, *(key for values in included for key in values))))
    expansion = Expansion(axes, keys, excluded=[one for _, one in excluded], included=included)
    if len(problems) > before:
        return Expansion([], keys, valid=False)
    expansion.valid = _check_size(job, expansion, problems)
    return expansion


def _read_zip(job: MappingNode, params: Mapping[str, Any], problems: Problems) -> dict[str, Sequence[Any]]:
    columns = {}
    for key, entry in named(job.get("zip"), "`zip`", VALUE_NAME, problems).items():
        if key in (EXCLUDE, INCLUDE):
            hint = f"as in `matrix: {{{key}: [{{os: mac}}]}}`; it covers the values of `zip` too"
            problems.add(entry.place, f"`{key}` belongs to `matrix`", hint)
        else:
            columns[key] = _read_values(key, entry, params, problems, once=False)
    return columns


def _check_size(job: MappingNode, expansion: Expansion, problems: Problems) -> bool:
    """Report an expansion that makes too many jobs, or none."""
    if not expansion.axes and not expansion.included:
        if "matrix" not in job.entries:
            return True
        problems.add(job.entries["matrix"].place, "`matrix` has no values", "give it a list of values, or leave it out")
        return False
    place = job.entries["matrix" if "matrix" in job.entries else "zip"].place
    number = math.prod(len(axis) for axis in expansion.axes)
    if number > MAX_JOBS:
        problems.add(place, f"makes {number:,} jobs; {MAX_JOBS:,} are the most", "make fewer, larger jobs")
        return False
    if expansion.excluded and expansion.is_empty():
        problems.add(place, f"`{EXCLUDE}` leaves no combination", "no job would be made")
        return False
    return True


def _read_combinations(
    kind: str, changes: Mapping[str, MappingEntry], params: Mapping[str, Any], problems: Problems
) -> list[tuple[MappingNode, dict[str, Any]]]:
    """Return the combinations that `exclude` or `include` lists, each as a mapping of keys to values."""
    if kind not in changes:
        return []
    form = f"as in `{kind}: [{{os: mac, py: 3.8}}]`; a key of a matrix cannot have the name `{kind}`"
    node = _substituted(changes[kind].node, params, problems)
    if not isinstance(node, ListNode):
        problems.add(node.place, f"`{kind}` must be a list of combinations, and is {describe(node)}", form)
        return []
    found = []
    for item in node.items:
        one = _substituted(item, params, problems)
        if not isinstance(one, MappingNode) or not one.entries:
            what = "empty" if isinstance(one, MappingNode) else describe(one)
            problems.add(one.place, f"a combination of `{kind}` must map keys to values, and is {what}", form)
            continue
        values = {}
        for key, entry in named(one, f"`{kind}`", VALUE_NAME, problems).items():
            scalar = _substituted(entry.node, params, problems)
            if _is_value(key, scalar, problems):
                values[key] = data(scalar, f"the value of {key!r}", problems)
        found.append((one, values))
    return found


def _check_excluded(
    excluded: Sequence[tuple[MappingNode, _Values]],
    keys: Sequence[str],
    axes: Sequence[Axis],
    problems: Problems,
) -> None:
    """Report excluded combinations that no job has."""
    for node, values in excluded:
        places = {normalize_name(key): entry.place for key, entry in node.entries.items()}
        unknown = [key for key in values if key not in keys]
        for key in unknown:
            hint = did_you_mean(key, keys)
            problems.add(places[key], f"`{EXCLUDE}` names {key!r}, which is not a key of this matrix", hint)
        for axis in axes if not unknown else ():
            some = {key: value for key, value in values.items() if key in axis.keys}
            if any(_is_within(some, choice) for choice in axis.rows()):
                continue
            key = next(iter(some))
            hint = (
                did_you_mean(format_word(some[key]), [format_word(one[key]) for one in axis.rows()])
                if len(some) == 1
                else ""
            )
            problems.add(places[key], f"`{EXCLUDE}` matches no combination: none has {matrix_label(some)}", hint)


def _check_lengths(job: MappingNode, zipped: Mapping[str, Sequence[Any]], problems: Problems) -> None:
    lengths = {key: len(values) for key, values in zipped.items() if values}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        problems.add(
            job.entries["zip"].place, f"the lists of `zip` differ in length: {listed}", "each row takes one of each"
        )


def _read_values(
    key: str, entry: MappingEntry, params: Mapping[str, Any], problems: Problems, *, once: bool
) -> Sequence[Any]:
    """Return the values of one key, from a list or a range. With `once`, a repeated value is reported."""
    node = _substituted(entry.node, params, problems)
    if isinstance(node, MappingNode):
        if key == "zip" and "range" not in node.entries:
            problems.add(
                entry.place, "`zip` belongs beside `matrix`, not inside it", "as in `zip: {a: [1, 2], b: [x, y]}`"
            )
            return []
        return read_range(f"of {key!r}", node, params, problems)
    if not isinstance(node, ListNode):
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
        scalar = _substituted(item, params, problems)
        if _is_value(key, scalar, problems):
            value = data(scalar, f"the value of {key!r}", problems)
            if once and value_label(value) in seen:
                problems.add(
                    item.place, f"{key!r} has the value {describe(scalar)} twice", "two jobs would have one name"
                )
            seen.add(value_label(value))
            values.append(value)
    return values


def _is_value(key: str, node: Node, problems: Problems) -> bool:
    if not isinstance(node, ScalarNode) or node.value is None:
        hint = 'quote it: "" is the empty text' if isinstance(node, ScalarNode) else ""
        message = f"a value of {key!r} must be a text, number, true or false, and is {describe(node)}"
        problems.add(node.place, message, hint)
        return False
    if isinstance(node.value, str) and "\0" in node.value:
        problems.add(node.place, f"a value of {key!r} holds a NUL character", "no command can be given one")
        return False
    return True


def read_range(what: str, node: MappingNode, params: Mapping[str, Any], problems: Problems) -> Sequence[int]:
    """Return the integers of `{range: [start, stop]}` or `{range: [start, stop, step]}`, without the stop.

    `what` follows "the value" and "the range" in messages.
    """
    check_keys(node, ("range",), f"the value {what}", problems)
    bounds = node.get("range")
    if bounds is None:
        if not node.entries:
            problems.add(node.place, f"the value {what} is empty", _RANGE)
        return []
    numbers = [_range_bound(item, params, problems) for item in bounds.items] if isinstance(bounds, ListNode) else []
    if not 2 <= len(numbers) <= 3 or None in numbers or 0 in numbers[2:]:
        problems.add(bounds.place, f"the range {what} must be two or three whole numbers", _RANGE)
        return []
    span = range(*[number for number in numbers if number is not None])
    if not span:
        problems.add(bounds.place, f"the range {what} is empty", "the stop is left out")
    if len(span) > MAX_JOBS:
        problems.add(bounds.place, f"the range {what} has {len(span):,} values; {MAX_JOBS:,} are the most")
        return []
    return span


_RANGE = "as in {range: [0, 10]}, or with a step {range: [0, 10, 2]}; the stop is left out"


def _range_bound(node: Node, params: Mapping[str, Any], problems: Problems) -> int | None:
    substituted = _substituted(node, params, problems)
    value = substituted.value if isinstance(substituted, ScalarNode) else None
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62
    return value if is_number and isinstance(value, int) else None


def _substituted(node: Node, params: Mapping[str, Any], problems: Problems) -> Node:
    """Return the node with `${params.…}` filled in. A reference to a list or number yields a list or number."""
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str) or "${" not in node.value:
        return node
    before = len(problems)
    found = check_text(node.value, node.place, KnownNames(params, job=False, matrix=()), problems)
    if not found or len(problems) > before:
        return node
    return from_python(render_value(node.value, {"params": params}), node.place, problems)


def check_names(name: str, place: SourcePlace, jobs: MatrixJobs | Sequence[JobNode], problems: Problems) -> None:
    """Report two combinations that have the same name."""
    if isinstance(jobs, MatrixJobs) and jobs.names_differ():
        return
    seen: set[str] = set()
    for job in jobs:
        if job.name in seen:
            problems.add(
                place, f"two jobs of {name!r} are named {job.name!r}", "change the values, so that no two look alike"
            )
            return
        seen.add(job.name)
