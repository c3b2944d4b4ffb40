"""Parts of a torc spec that jobs refer to: parameters with their values, files, user data, resource requirements,
failure handlers and schedulers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from rekindle.domain.errors import BadSelection, SlowPattern
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.spec.matrix import MAX_JOBS
from rekindle.spec.nodes import (
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    PlacedText,
    Problems,
    ScalarNode,
    SourcePlace,
    describe,
)
from rekindle.spec.values import check_keys, one_of, table, text, whole_number, yes_or_no
from rekindle.spec.yaml_reader import resolve_plain

Value = str | int | float | bool
Binding = Mapping[str, Value]

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?")
_VALUES_HINT = 'as in "1:10", "0.0:1.0:0.25" (with the end, by a step) or "[0.01, 0.1]"'
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
_FORMAT = re.compile(r"[<>^+]?0?[0-9]*(?:\.[0-9]+)?[defgxX]?")


class Sweep(NamedTuple):
    """The values of parameters, which are paired (`zip`) or crossed."""

    values: Mapping[str, Sequence[Value]]
    paired: bool = False

    def only(self, names: Sequence[str]) -> Sweep:
        """Return the sweep of these parameters."""
        return Sweep({name: self.values[name] for name in names}, self.paired)

    def bindings(self) -> Iterator[Binding]:
        """Yield each combination of values; an empty one without parameters."""
        columns = self.values.values()
        rows = zip(*columns, strict=True) if self.paired and self.values else itertools.product(*columns)
        for row in rows:
            yield dict(zip(self.values, row, strict=True))


def read_sweep(owner: MappingNode, shared: Sweep, problems: Problems) -> Sweep:
    """Read `parameters`, `use_parameters` and `parameter_mode` of a job or file. `shared`: those of the workflow."""
    own = read_parameters(owner, problems)
    used = owner.get("use_parameters")
    names = []
    for node in used.items if isinstance(used, ListNode) else [used] if used is not None else []:
        name = node.text if isinstance(node, ScalarNode) else ""
        if name in shared.values:
            names.append(name)
        elif name not in own.values:
            known = ", ".join(shared.values) or "there are none"
            problems.add(node.place, f"there is no parameter {name!r:.60}", f"`parameters` of the workflow: {known}")
    paired = own.paired if "parameter_mode" in owner.entries else shared.paired
    found = Sweep({**shared.only(names).values, **own.values}, paired)
    return _check_sizes(found, owner.place, problems)


def read_parameters(owner: MappingNode, problems: Problems) -> Sweep:
    """Read `parameters` and `parameter_mode`."""
    paired = one_of(owner.get("parameter_mode"), ("product", "zip"), "`parameter_mode`", problems) == "zip"
    found = table(owner.get("parameters"), "`parameters`", problems)
    values = {name: _values(name, entry.node, problems) for name, entry in found.entries.items()} if found else {}
    return Sweep(values, paired)


def substitute(text: str, binding: Binding, place: SourcePlace, problems: Problems) -> str:
    """Replace each `{name}` and `{name:.2f}` of the binding. Other braces stay."""
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

    return _PLACEHOLDER.sub(written, text)


def _check_sizes(found: Sweep, place: SourcePlace, problems: Problems) -> Sweep:
    sizes = {name: len(values) for name, values in found.values.items()}
    if found.paired and len(set(sizes.values())) > 1:
        sizes_text = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        problems.add(
            place, f"parameters that are paired have as many values each: {sizes_text}", "parameter_mode: product"
        )
        return Sweep({})
    total = 1
    for size in sizes.values():
        total *= size
    if total > MAX_JOBS and not found.paired:
        problems.add(place, f"the parameters make {total:,} combinations; {MAX_JOBS:,} are the most")
        return Sweep({})
    return found


def _values(name: str, node: Node, problems: Problems) -> Sequence[Value]:
    if isinstance(node, ListNode):
        values = [_scalar(item, problems) for item in node.items]
    elif isinstance(node, ScalarNode) and isinstance(node.value, str):
        values = list(_values_from_text(name, node, problems))
    else:
        values = [_scalar(node, problems)]
    if not values and isinstance(node, ListNode):
        problems.add(node.place, f"the parameter {name!r} has no values", _VALUES_HINT)
    return values


def _values_from_text(name: str, node: ScalarNode, problems: Problems) -> Sequence[Value]:
    text = node.text.strip()
    if text.startswith("["):
        return _list_values(name, text, node, problems)
    bounds = _RANGE.fullmatch(text)
    return _range_values(name, bounds, node, problems) if bounds else [text]


def _list_values(name: str, text: str, node: ScalarNode, problems: Problems) -> Sequence[Value]:
    """Parse `[1, 2]`, `['a','b']`, and as torc does `[a, b]`."""
    try:
        found = json.loads(text)
    except ValueError:
        inner = text.removeprefix("[").removesuffix("]")
        plain = (resolve_plain(part.strip().strip("'\"")) for part in inner.split(",") if part.strip())
        found = ["null" if value is None else value for value in plain]
    if text.endswith("]") and found and all(isinstance(value, str | int | float) for value in found):
        return list(found)
    problems.add(node.place, f"the parameter {name!r} cannot be {describe(node)}", _VALUES_HINT)
    return []


def _range_values(name: str, bounds: re.Match[str], node: ScalarNode, problems: Problems) -> Sequence[Value]:
    """Return the values of a range, including its end."""
    parts = [bounds[1], bounds[2], bounds[3] or "1"]
    whole = all(part.lstrip("+-").isdecimal() for part in parts)
    start, stop, step = (float(part) for part in parts)
    size = (stop - start) / step if step else -1.0
    if not 0 <= size < MAX_JOBS:
        problems.add(node.place, f"the range of {name!r} makes no values, or too many: {describe(node)}", _VALUES_HINT)
        return []
    count = int(size + 1e-9) + 1
    if whole:
        return [int(parts[0]) + at * int(parts[2]) for at in range(count)]
    return [round(start + at * step, 12) for at in range(count)]


def _scalar(node: Node, problems: Problems) -> Value:
    if isinstance(node, ScalarNode) and node.value is not None:
        return node.value
    problems.add(node.place, f"a parameter's value cannot be {describe(node)}", _VALUES_HINT)
    return ""


PARAMETER_KEYS = ("parameters", "use_parameters", "parameter_mode")
_FILE_KEYS = ("name", "path", "st_mtime", *PARAMETER_KEYS)
_DATA_KEYS = ("name", "data", "is_ephemeral", *PARAMETER_KEYS)
_RESOURCE_KEYS = {"num_cpus": "cpus", "memory": "memory", "num_gpus": "gpus", "runtime": "time"}
_OTHER_RESOURCE_KEYS = ("name", "num_nodes", "step_nodes")
_RULE_KEYS = ("exit_codes", "match_all_exit_codes", "recovery_script", "max_retries")
_DEFAULT_ATTEMPTS = 3
_Kind = TypeVar("_Kind", PlacedText, "UserDataSpec")
CAUSES_OF_ANY_CODE = ("exit", "signal", "oom", "timeout", "missing_output")


class UserDataSpec(msgspec.Struct, frozen=True):
    """A JSON value that jobs pass on. `data` is None if the spec gives none."""

    name: str
    place: SourcePlace
    ephemeral: bool = False
    data: Node | None = None


class FailureRule(msgspec.Struct, frozen=True):
    """What to do after these exit codes; () means any."""

    codes: tuple[int, ...]
    script: str | None
    retries: int  # after the first attempt, which torc's `max_retries` counts too


class NamedItems(msgspec.Struct):
    """Everything that the jobs of a spec can name."""

    files: dict[str, PlacedText] = msgspec.field(default_factory=dict)
    user_data: dict[str, UserDataSpec] = msgspec.field(default_factory=dict)
    resources: dict[str, MappingNode] = msgspec.field(default_factory=dict)
    handlers: dict[str, Sequence[FailureRule]] = msgspec.field(default_factory=dict)
    schedulers: set[str] = msgspec.field(default_factory=set)


def read_named_items(top: MappingNode, shared: Sweep, problems: Problems) -> NamedItems:
    """Read all named items of a spec."""
    found = NamedItems()
    for name, binding, one in expand_entries(top, "files", _FILE_KEYS, shared, problems):
        path = text(one.get("path"), "`path`", problems)
        if "path" not in one.entries:
            problems.add(one.place, f"the file {name!r} has no `path`", "as in {name: raw, path: raw.csv}")
        if path is not None:
            place = one.entries["path"].node.place
            _add_unique(
                found.files, name, PlacedText(substitute(path, binding, place, problems), place), "file", problems
            )
    for name, _, one in expand_entries(top, "user_data", _DATA_KEYS, shared, problems):
        ephemeral = yes_or_no(one.get("is_ephemeral"), "`is_ephemeral`", problems)
        value = UserDataSpec(name, one.place, ephemeral, one.get("data"))
        _add_unique(found.user_data, name, value, "user data", problems)
    keys = (*_RESOURCE_KEYS, *_OTHER_RESOURCE_KEYS)
    for name, _, one in expand_entries(top, "resource_requirements", keys, shared, problems):
        ours = {_RESOURCE_KEYS[key]: entry for key, entry in one.entries.items() if key in _RESOURCE_KEYS}
        found.resources[name] = MappingNode(one.place, ours)
    for name, _, one in expand_entries(top, "failure_handlers", ("name", "rules"), shared, problems):
        found.handlers[name] = tuple(_failure_rules(one, problems))
    found.schedulers = {name for name, _, _ in expand_entries(top, "slurm_schedulers", None, shared, problems)}
    return found


def expand_entries(
    top: MappingNode, key: str, keys: Iterable[str] | None, shared: Sweep, problems: Problems
) -> Iterator[tuple[str, Binding, MappingNode]]:
    """Yield the entries of a list with their names, once for each combination of their parameters."""
    for one in tables(top.get(key), f"`{key}`", problems):
        if keys is not None:
            check_keys(one, tuple(keys), f"an entry of `{key}`", problems)
        name = text(one.get("name"), "`name`", problems)
        if "name" not in one.entries:
            problems.add(one.place, f"an entry of `{key}` has no `name`")
        if name is None:
            continue
        sweep = read_sweep(one, shared, problems) if keys is None or "parameters" in keys else Sweep({})
        for binding in sweep.bindings():
            yield substitute(name, binding, one.entries["name"].node.place, problems), binding, one


def tables(node: Node | None, what: str, problems: Problems) -> list[MappingNode]:
    """Return a list of mappings."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return []
    if not isinstance(node, ListNode):
        problems.add(node.place, f"{what} must be a list, and is {describe(node)}")
        return []
    found = (table(item, f"an entry of {what}", problems) for item in node.items)
    return [without_nulls(one) for one in found if one is not None]


def without_nulls(found: MappingNode) -> MappingNode:
    """Return a mapping without the entries that are null, which mean the same as no entry."""
    entries = found.entries.items()
    return MappingNode(
        found.place,
        {key: one for key, one in entries if not (isinstance(one.node, ScalarNode) and one.node.value is None)},
    )


def texts(node: Node | None, what: str, binding: Binding, problems: Problems) -> list[PlacedText]:
    """Return a list of texts (or a single one), with parameters replaced."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return []
    items = node.items if isinstance(node, ListNode) else [node]
    found = [(text(item, what, problems), item.place) for item in items]
    return [PlacedText(substitute(one, binding, place, problems), place) for one, place in found if one is not None]


def matching(patterns: Iterable[PlacedText], names: Iterable[str], problems: Problems) -> list[PlacedText]:
    """Return the names that match one of the regular expressions, each with the place of its expression."""
    found: dict[str, PlacedText] = {}
    for pattern in patterns:
        try:
            compiled = compile_pattern(pattern.text)
            hits = [name for name in names if compiled.found_in(name)]
        except (BadSelection, SlowPattern) as error:
            problems.add(pattern.place, error.message, error.hint)
            continue
        if not hits:
            problems.add(pattern.place, f"{pattern.text!r:.80} matches nothing", "the names of the spec are searched")
        for name in hits:
            found.setdefault(name, PlacedText(name, pattern.place))
    return list(found.values())


def check_known(wanted: PlacedText, there: Collection[str], what: str, problems: Problems) -> bool:
    """Return whether a name exists. Adds a problem if it does not."""
    if wanted.text in there:
        return True
    problems.add(wanted.place, f"there is no {what} {wanted.text!r:.80}", did_you_mean(wanted.text, there))
    return False


def _add_unique(found: dict[str, _Kind], name: str, value: _Kind, what: str, problems: Problems) -> None:
    if name in found:
        problems.add(value.place, f"the {what} {name!r:.60} is there already", "parameters in its name make it another")
    else:
        found[name] = value


def _failure_rules(handler: MappingNode, problems: Problems) -> Iterator[FailureRule]:
    for one in tables(handler.get("rules"), "`rules`", problems):
        check_keys(one, _RULE_KEYS, "a rule", problems)
        every = yes_or_no(one.get("match_all_exit_codes"), "`match_all_exit_codes`", problems)
        codes = one.get("exit_codes")
        items = codes.items if isinstance(codes, ListNode) else [] if codes is None else [codes]
        numbers = [whole_number(item, "an exit code", problems, least=1) for item in items]
        if not every and not items:
            problems.add(one.place, "a rule matches no exit code", "`exit_codes: [10]` or `match_all_exit_codes: true`")
        for item, number in zip(items, numbers, strict=True):
            if number is not None and number > 255:
                problems.add(item.place, f"an exit code must be at most 255, and is {number}")
        attempts = whole_number(one.get("max_retries"), "`max_retries`", problems, least=0)
        yield FailureRule(
            () if every else tuple(number for number in numbers if number is not None),
            text(one.get("recovery_script"), "`recovery_script`", problems),
            max(0, (_DEFAULT_ATTEMPTS if attempts is None else attempts) - 1),
        )


def list_entry(place: SourcePlace, names: Iterable[PlacedText]) -> MappingEntry:
    """Return a list of texts as an entry."""
    return MappingEntry(place, ListNode(place, [ScalarNode(one.text, one.text, one.place) for one in names]))
