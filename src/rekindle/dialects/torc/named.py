"""The named things of a torc spec that its jobs refer to: files, user data, resource requirements, failure handlers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rekindle.dialects.torc.sweeps import Binding, Sweep, fill, read_sweep
from rekindle.domain.errors import BadSelection, SlowPattern
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.domain.texts.patterns import pattern_of
from rekindle.spec.nodes import Entry, Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.values import check_keys, table, text, whole_number, yes_or_no

SWEPT = ("parameters", "use_parameters", "parameter_mode")
_FILE_KEYS = ("name", "path", "st_mtime", *SWEPT)
_DATA_KEYS = ("name", "data", "is_ephemeral", *SWEPT)
_RESOURCE_KEYS = {"num_cpus": "cpus", "memory": "memory", "num_gpus": "gpus", "runtime": "time"}
_OTHER_RESOURCE_KEYS = ("name", "num_nodes", "step_nodes")
_RULE_KEYS = ("exit_codes", "match_all_exit_codes", "recovery_script", "max_retries")
_MAX_RETRIES = 3
_Kind = TypeVar("_Kind", Placed, "UserData")
MATCHED_BY_ALL = ("exit", "signal", "oom", "timeout", "missing_output")


@dataclass(frozen=True, slots=True)
class UserData:
    """A JSON value that jobs hand on. `data` is None where the spec gives none."""

    name: str
    place: Place
    ephemeral: bool = False
    data: Node | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done after some exit codes; none: after all."""

    codes: tuple[int, ...]
    script: str | None
    retries: int


@dataclass(slots=True)
class Named:
    """All that the jobs of a spec can name."""

    files: dict[str, Placed] = field(default_factory=dict)
    user_data: dict[str, UserData] = field(default_factory=dict)
    resources: dict[str, Table] = field(default_factory=dict)
    handlers: dict[str, Sequence[Rule]] = field(default_factory=dict)
    schedulers: set[str] = field(default_factory=set)


def read_named(top: Table, shared: Sweep, problems: Problems) -> Named:
    """What stands beside `jobs:`."""
    found = Named()
    for name, binding, one in swept(top, "files", _FILE_KEYS, shared, problems):
        path = text(one.get("path"), "`path`", problems)
        if "path" not in one.entries:
            problems.add(one.place, f"the file {name!r} has no `path`", "as in {name: raw, path: raw.csv}")
        if path is not None:
            place = one.entries["path"].node.place
            _enter(found.files, name, Placed(fill(path, binding, place, problems), place), "file", problems)
    for name, _, one in swept(top, "user_data", _DATA_KEYS, shared, problems):
        ephemeral = yes_or_no(one.get("is_ephemeral"), "`is_ephemeral`", problems)
        data = one.get("data")
        given = None if isinstance(data, Scalar) and data.value is None else data
        _enter(found.user_data, name, UserData(name, one.place, ephemeral, given), "user data", problems)
    keys = (*_RESOURCE_KEYS, *_OTHER_RESOURCE_KEYS)
    for name, _, one in swept(top, "resource_requirements", keys, shared, problems):
        ours = {_RESOURCE_KEYS[key]: entry for key, entry in one.entries.items() if key in _RESOURCE_KEYS}
        found.resources[name] = Table(one.place, ours)
    for name, _, one in swept(top, "failure_handlers", ("name", "rules"), shared, problems):
        found.handlers[name] = tuple(_rules(one, problems))
    found.schedulers = {name for name, _, _ in swept(top, "slurm_schedulers", None, shared, problems)}
    return found


def swept(
    top: Table, key: str, keys: Iterable[str] | None, shared: Sweep, problems: Problems
) -> Iterator[tuple[str, Binding, Table]]:
    """The entries of a list, once for each combination of their parameters, with their names."""
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
            yield fill(name, binding, one.entries["name"].node.place, problems), binding, one


def tables(node: Node | None, what: str, problems: Problems) -> list[Table]:
    """A list of mappings."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return []
    if not isinstance(node, Items):
        problems.add(node.place, f"{what} must be a list, and is {describe(node)}")
        return []
    found = (table(item, f"an entry of {what}", problems) for item in node.items)
    return [one for one in found if one is not None]


def texts(node: Node | None, what: str, binding: Binding, problems: Problems) -> list[Placed]:
    """A list of texts (or one), with parameters written out."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return []
    items = node.items if isinstance(node, Items) else [node]
    found = [(text(item, what, problems), item.place) for item in items]
    return [Placed(fill(one, binding, place, problems), place) for one, place in found if one is not None]


def matching(patterns: Iterable[Placed], names: Iterable[str], problems: Problems) -> list[Placed]:
    """The names in which one of the regular expressions is found, each at the place of its expression."""
    found: dict[str, Placed] = {}
    for pattern in patterns:
        try:
            compiled = pattern_of(pattern.text)
            hits = [name for name in names if compiled.found_in(name)]
        except (BadSelection, SlowPattern) as error:
            problems.add(pattern.place, error.message, error.hint)
            continue
        if not hits:
            problems.add(pattern.place, f"{pattern.text!r:.80} matches nothing", "the names of the spec are searched")
        for name in hits:
            found.setdefault(name, Placed(name, pattern.place))
    return list(found.values())


def known(wanted: Placed, there: Collection[str], what: str, problems: Problems) -> bool:
    """Whether a name is there; else it is told."""
    if wanted.text in there:
        return True
    problems.add(wanted.place, f"there is no {what} {wanted.text!r:.80}", did_you_mean(wanted.text, there))
    return False


def _enter(found: dict[str, _Kind], name: str, value: _Kind, what: str, problems: Problems) -> None:
    if name in found:
        problems.add(value.place, f"the {what} {name!r:.60} is there already", "parameters in its name make it another")
    else:
        found[name] = value


def _rules(handler: Table, problems: Problems) -> Iterator[Rule]:
    for one in tables(handler.get("rules"), "`rules`", problems):
        check_keys(one, _RULE_KEYS, "a rule", problems)
        every = yes_or_no(one.get("match_all_exit_codes"), "`match_all_exit_codes`", problems)
        codes = one.get("exit_codes")
        items = codes.items if isinstance(codes, Items) else [] if codes is None else [codes]
        numbers = [whole_number(item, "an exit code", problems, least=1) for item in items]
        if not every and not items:
            problems.add(one.place, "a rule matches no exit code", "`exit_codes: [10]` or `match_all_exit_codes: true`")
        for item, number in zip(items, numbers, strict=True):
            if number is not None and number > 255:
                problems.add(item.place, f"an exit code must be at most 255, and is {number}")
        retries = whole_number(one.get("max_retries"), "`max_retries`", problems, least=0)
        yield Rule(
            () if every else tuple(number for number in numbers if number is not None),
            text(one.get("recovery_script"), "`recovery_script`", problems),
            _MAX_RETRIES if retries is None else retries,
        )


def listed(place: Place, names: Iterable[Placed]) -> Entry:
    """A list of texts as an entry of ours."""
    return Entry(place, Items(place, [Scalar(one.text, one.text, one.place) for one in names]))
