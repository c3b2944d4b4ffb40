"""`inputs:` and `outputs:`: paths by name, and how what is there is told from what was there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rekindle.domain.texts.quantities import parse_size
from rekindle.spec.nodes import Entry, Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Placed, Problems
from rekindle.spec.resources import quantity
from rekindle.spec.values import VALUE_NAME, check_keys, named, one_of, table, text, yes_or_no

_TELLING = ("by", "over")
_WAYS = ("content", "mtime")
_KEYS = {"inputs": ("path", "by", "over", "optional"), "outputs": ("path", "by", "over")}
_FORM = "as in `raw: data/raw.csv` or `raw: {path: data/raw.csv, by: mtime}`"
_WILD = re.compile(r"[*?]")
_OVER = "as in `{by: mtime, over: 1G}`: smaller files are told by content"


@dataclass(frozen=True, slots=True)
class Telling:
    """How files are told apart: by content, or from `least` bytes on by size and time of modification."""

    least: int | None = None  # None: always by content; 0: never


@dataclass(slots=True)
class Declared:
    """The inputs or outputs of a job."""

    paths: dict[str, Placed] = field(default_factory=dict)
    by_mtime: dict[str, int] = field(default_factory=dict)
    optional: tuple[str, ...] = ()  # in order of name


def read_telling(node: Node | None, problems: Problems) -> Telling:
    """`files:` of `defaults:`."""
    found = table(node, "`files`", problems)
    if found is None:
        return Telling()
    check_keys(found, _TELLING, "`files`", problems)
    return _telling(found, Telling(), problems)


def read_declared(node: Node | None, kind: str, base: Telling, problems: Problems) -> Declared:
    """`inputs:` or `outputs:`; `base` is for those that do not say how they are told apart."""
    declared = Declared()
    if isinstance(node, Items | Scalar):
        message = f"`{kind}` must be a mapping of names to paths, and is {describe(node)}"
        problems.add(node.place, message, f"name each, as in `{kind}: {{data: build/data.npz}}`")
        return declared
    for name, entry in named(node, f"`{kind}`", VALUE_NAME, problems).items():
        path, telling = _file(name, entry, kind, base, problems)
        if path is not None:
            declared.paths[name] = path
        if telling.least is not None:
            declared.by_mtime[name] = telling.least
        if isinstance(entry.node, Table) and yes_or_no(entry.node.get("optional"), "`optional`", problems):
            declared.optional = tuple(sorted((*declared.optional, name)))
    return declared


def by_mtime(inputs: Declared, outputs: Declared, problems: Problems) -> dict[str, int]:
    """Of both. An input and an output of one name are told apart alike."""
    for name in inputs.paths.keys() & outputs.paths.keys():
        if inputs.by_mtime.get(name) != outputs.by_mtime.get(name):
            problems.add(
                outputs.paths[name].place,
                f"the output {name!r} is told apart otherwise than the input of that name",
                "give both the same `by` and `over`, or other names",
            )
    return {**inputs.by_mtime, **outputs.by_mtime}


def _file(name: str, entry: Entry, kind: str, base: Telling, problems: Problems) -> tuple[Placed | None, Telling]:
    node, telling = entry.node, base
    if isinstance(node, Table):
        check_keys(node, _KEYS[kind], f"the file {name!r}", problems)
        telling = _telling(node, base, problems)
        if "path" not in node.entries:
            problems.add(node.place, f"the file {name!r} has no `path`", _FORM)
            return None, telling
        node = node.entries["path"].node
    path = text(node, f"the path of {name!r}", problems)
    if kind == "outputs" and path is not None and _WILD.search(path):
        message = f"the output {name!r} is a pattern: {path!r:.80}"
        problems.add(node.place, message, "declare the directory that holds the files, or each file")
    return (None if path is None else Placed(path, node.place)), telling


def _telling(found: Table, base: Telling, problems: Problems) -> Telling:
    way = one_of(found.get("by"), _WAYS, "`by`", problems)
    if "over" not in found.entries:
        return base if way is None else Telling(None if way == "content" else 0)
    if way == "content" or ("by" not in found.entries and base.least is None):
        problems.add(found.entries["over"].place, "`over` is only for files that are told by mtime", _OVER)
        return base
    least = quantity(found.get("over"), "over", parse_size, problems, _OVER)
    return base if least is None else Telling(int(least))
