"""Parameters of torc's specs: what values they have, which combinations these make, and where they stand in texts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rekindle.spec.matrix import MOST_JOBS
from rekindle.spec.nodes import Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Place, Problems
from rekindle.spec.scalars import resolve_plain
from rekindle.spec.values import one_of, table

Value = str | int | float | bool
Binding = Mapping[str, Value]

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?")
_HINT = 'as in "1:10", "0.0:1.0:0.25" (with the end, by a step) or "[0.01, 0.1]"'
_FIELD = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
_FORMAT = re.compile(r"[<>^+]?0?[0-9]*(?:\.[0-9]+)?[defgxX]?")


class Sweep(NamedTuple):
    """Values of each parameter, and whether they are paired (`zip`) or crossed."""

    values: Mapping[str, Sequence[Value]]
    paired: bool = False

    def only(self, names: Sequence[str]) -> Sweep:
        """Of these parameters."""
        return Sweep({name: self.values[name] for name in names}, self.paired)

    def bindings(self) -> Iterator[Binding]:
        """Each combination; without parameters the one that is empty."""
        columns = self.values.values()
        rows = zip(*columns, strict=True) if self.paired and self.values else itertools.product(*columns)
        for row in rows:
            yield dict(zip(self.values, row, strict=True))


def read_sweep(owner: Table, shared: Sweep, problems: Problems) -> Sweep:
    """What `parameters`, `use_parameters` and `parameter_mode` of a job or file say; `shared` are the workflow's."""
    own = read_parameters(owner, problems)
    used = owner.get("use_parameters")
    names = []
    for node in used.items if isinstance(used, Items) else [used] if used is not None else []:
        name = node.text if isinstance(node, Scalar) else ""
        if name in shared.values:
            names.append(name)
        elif name not in own.values:
            known = ", ".join(shared.values) or "there are none"
            problems.add(node.place, f"there is no parameter {name!r:.60}", f"`parameters` of the workflow: {known}")
    paired = own.paired if "parameter_mode" in owner.entries else shared.paired
    found = Sweep({**shared.only(names).values, **own.values}, paired)
    return _sound(found, owner.place, problems)


def read_parameters(owner: Table, problems: Problems) -> Sweep:
    """`parameters` and `parameter_mode` where they stand."""
    paired = one_of(owner.get("parameter_mode"), ("product", "zip"), "`parameter_mode`", problems) == "zip"
    found = table(owner.get("parameters"), "`parameters`", problems)
    values = {name: _values(name, entry.node, problems) for name, entry in found.entries.items()} if found else {}
    return Sweep(values, paired)


def fill(text: str, binding: Binding, place: Place, problems: Problems) -> str:
    """The text with each `{name}` and `{name:.2f}` of the binding written out; other braces stay."""
    if not binding or "{" not in text:
        return text

    def written(found: re.Match[str]) -> str:
        name, form = found[1], found[2]
        if name not in binding:
            return found[0]
        value = binding[name]
        if not form:
            return str(value).lower() if isinstance(value, bool) else str(value)
        if not _FORMAT.fullmatch(form):
            problems.add(place, f"{found[0]}: {form!r} is no format", "as in {i:03d} or {lr:.2f}")
            return found[0]
        try:
            return format(value, form)
        except ValueError:
            problems.add(place, f"{found[0]}: {value!r} cannot be written so", "as in {i:03d} or {lr:.2f}")
            return found[0]

    return _FIELD.sub(written, text)


def _sound(found: Sweep, place: Place, problems: Problems) -> Sweep:
    sizes = {name: len(values) for name, values in found.values.items()}
    if found.paired and len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        problems.add(place, f"parameters that are paired have as many values each: {told}", "parameter_mode: product")
        return Sweep({})
    total = 1
    for size in sizes.values():
        total *= size
    if total > MOST_JOBS and not found.paired:
        problems.add(place, f"the parameters make {total:,} combinations; {MOST_JOBS:,} are the most")
        return Sweep({})
    return found


def _values(name: str, node: Node, problems: Problems) -> Sequence[Value]:
    if isinstance(node, Items):
        values = [_scalar(item, problems) for item in node.items]
    elif isinstance(node, Scalar) and isinstance(node.value, str):
        values = list(_written(name, node, problems))
    else:
        values = [_scalar(node, problems)]
    if not values and isinstance(node, Items):
        problems.add(node.place, f"the parameter {name!r} has no values", _HINT)
    return values


def _written(name: str, node: Scalar, problems: Problems) -> Sequence[Value]:
    text = node.text.strip()
    if text.startswith("["):
        return _listed(name, text, node, problems)
    bounds = _RANGE.fullmatch(text)
    return _span(name, bounds, node, problems) if bounds else [text]


def _listed(name: str, text: str, node: Scalar, problems: Problems) -> Sequence[Value]:
    """`[1, 2]`, `['a','b']`, and as torc takes them also `[a, b]`."""
    try:
        found = json.loads(text)
    except ValueError:
        inner = text.removeprefix("[").removesuffix("]")
        plain = (resolve_plain(part.strip().strip("'\"")) for part in inner.split(",") if part.strip())
        found = ["null" if value is None else value for value in plain]
    if text.endswith("]") and found and all(isinstance(value, str | int | float) for value in found):
        return list(found)
    problems.add(node.place, f"the parameter {name!r} cannot be {describe(node)}", _HINT)
    return []


def _span(name: str, bounds: re.Match[str], node: Scalar, problems: Problems) -> Sequence[Value]:
    """With its end."""
    parts = [bounds[1], bounds[2], bounds[3] or "1"]
    whole = all(part.lstrip("+-").isdecimal() for part in parts)
    start, stop, step = (float(part) for part in parts)
    size = (stop - start) / step if step else -1.0
    if not 0 <= size < MOST_JOBS:
        problems.add(node.place, f"the range of {name!r} makes no values, or too many: {describe(node)}", _HINT)
        return []
    count = int(size + 1e-9) + 1
    if whole:
        return [int(parts[0]) + at * int(parts[2]) for at in range(count)]
    return [round(start + at * step, 12) for at in range(count)]


def _scalar(node: Node, problems: Problems) -> Value:
    if isinstance(node, Scalar) and node.value is not None:
        return node.value
    problems.add(node.place, f"a parameter's value cannot be {describe(node)}", _HINT)
    return ""
