"""Write a spec file from jobs that were read from another tool's file, and check that it is valid.

A converter returns a Conversion: jobs as plain data, and an omission for each thing that it did not convert.
`write_spec` makes the text. A job that a spec cannot express becomes an omission too, so that the text is always valid.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from rekindle.domain.errors import RekindleError, SpecError
from rekindle.domain.texts.substitution import find_references
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems
from rekindle.spec.starting import schema_line
from rekindle.spec.yaml_reader import read_yaml, resolve_plain


class Omission(NamedTuple):
    """Something that was not converted. `line` counts from 1; 0 means the whole file. `file`: an included one."""

    line: int
    reason: str
    file: str = ""

    def render(self, path: str) -> str:
        """Format the omission: `path:line: reason`."""
        path = self.file or path
        return f"{path}:{self.line}: {self.reason}" if self.line else f"{path}: {self.reason}"


class ConvertedJob(msgspec.Struct, frozen=True):
    """An entry of `jobs:` as plain data, and where it came from. `note` is written above it, as a comment."""

    name: str
    entry: Mapping[str, Any]
    line: int = 0
    note: str = ""


class Conversion(msgspec.Struct):
    """What a converter found in a file. `top` holds other keys of the spec, such as `env` and `defaults`."""

    kind: str
    source: str
    name: str
    jobs: list[ConvertedJob] = msgspec.field(default_factory=list)
    omissions: list[Omission] = msgspec.field(default_factory=list)
    top: dict[str, Any] = msgspec.field(default_factory=dict)


class WrittenSpec(NamedTuple):
    """The text of a spec, the number of its jobs, and what it leaves out."""

    text: str
    jobs: int
    omissions: Sequence[Omission]


def write_spec(found: Conversion, folder: Path, schema: str | None) -> WrittenSpec:
    """Return the spec of a conversion. `folder`: the project's. `schema`: see `starting.schema_line`.

    A job that makes the spec invalid is left out, with the problem as the reason.
    """
    jobs, omissions = list(found.jobs), list(found.omissions)
    while jobs:
        omissions.sort(key=_place)
        text, starts = _text(found, jobs, omissions, schema)
        problems = Problems(found.source)
        try:
            tree = read_yaml(text, problems)
            definition = assemble(tree, {}, SpecSource(str(folder)), problems)
        except SpecError as error:
            wrong = {_job_at(starts, one.line): one.message for one in reversed(error.problems)}
            if None in wrong:
                raise
            omissions += [Omission(jobs[at].line, f"{jobs[at].name}: {wrong[at]}") for at in wrong if at is not None]
            jobs = [job for at, job in enumerate(jobs) if at not in wrong]
        else:
            return WrittenSpec(text, len(definition.jobs), omissions)
    return WrittenSpec("", 0, sorted(omissions, key=_place))


def _place(one: Omission) -> tuple[str, int]:
    return one.file, one.line


def _job_at(starts: Sequence[int], line: int) -> int | None:
    """Return the position of the job that a line of the text belongs to."""
    return max((at for at, start in enumerate(starts) if start <= line), default=None)


def _text(
    found: Conversion, jobs: Sequence[ConvertedJob], omissions: Sequence[Omission], schema: str | None
) -> tuple[str, list[int]]:
    """Return the text of a spec, and the line at which each job begins."""
    lines = schema_line(schema).splitlines()
    lines.append(f"# Converted from {found.source} by `rekindle init --from {found.kind}`.")
    if omissions:
        lines += ["#", "# Not converted:", *(f"#   {_comment(one.render(found.source))}" for one in omissions)]
    lines += ["", *_dump({"name": found.name, **found.top}).splitlines(), "", "jobs:"]
    starts = []
    for job in jobs:
        starts.append(len(lines) + 1)
        origin = f"{found.source}:{job.line}" if job.line else ""
        note = ": ".join(part for part in (origin, job.note) if part)
        entry = {key: job.entry[key] for key in sorted(job.entry, key=_position)}
        body = _dump({job.name: _Block(entry)}).splitlines()
        lines += [*([f"  # {_comment(note)}"] if note else []), *(f"  {line}" if line else "" for line in body), ""]
    return "\n".join(lines).rstrip() + "\n", starts


_ORDER = (
    "matrix",
    "zip",
    "needs",
    "when",
    "inputs",
    "outputs",
    "workdir",
    "env",
    "shell",
    "run",
    "call",
    "args",
    "steps",
)


def _position(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _comment(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


class _Block(dict[str, Any]):
    """A mapping that is written in block style, one key a line."""


class _BlockList(list[Any]):
    """A list that is written in block style, one item a line."""


class _Dumper(yaml.SafeDumper):
    """Writes texts so that a reader of YAML 1.2 reads the same texts."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if resolve_plain(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _write_block(dumper: yaml.SafeDumper, table: _Block) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", table.items(), flow_style=False)


def _write_block_list(dumper: yaml.SafeDumper, items: _BlockList) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=False)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(_BlockList, _write_block_list)
_Dumper.add_representer(_Block, _write_block)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]


def _dump(table: Mapping[str, Any]) -> str:
    plain = _Block({key: _blocks(value) for key, value in table.items()})
    written: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=True
    )
    return written


_SHORT = 90
"""Characters of a collection that is written on one line."""


def _blocks(value: Any) -> Any:
    """Return plain data in which collections that are long, or hold a text of several lines, are in block style."""
    if isinstance(value, Mapping):
        inner = {key: _blocks(one) for key, one in value.items()}
        return _Block(inner) if isinstance(value, _Block) or _is_wide(inner) else inner
    if isinstance(value, list | tuple):
        items = [_blocks(one) for one in value]
        return _BlockList(items) if _is_wide(items) else items
    return value


def _is_wide(value: Mapping[str, Any] | list[Any]) -> bool:
    inner = list(value.values()) if isinstance(value, Mapping) else value
    nested = any(isinstance(one, _Block | _BlockList) or (isinstance(one, str) and "\n" in one) for one in inner)
    return nested or len(str(value)) > _SHORT


def literal(text: str) -> str:
    """Return a text for a spec in which nothing is substituted: `${` is escaped where rekindle would read it."""
    try:
        harmless = "$${" not in text and not find_references(text)
    except RekindleError:
        harmless = False
    return text if harmless else text.replace("${", "$${")


def unique_name(text: str, taken: Collection[str], otherwise: str = "job") -> str:
    """Return a valid name of a job, made from any text, that is not taken."""
    plain = re.sub(r"[^\w.-]+", "-", text).strip("-._")[:80] or otherwise
    plain = f"{otherwise}-{plain}" if plain.isdecimal() else plain
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def named_paths(paths: Sequence[str]) -> dict[str, str]:
    """Return paths by unique names for `inputs` or `outputs`, made from the names of the files."""
    found: dict[str, str] = {}
    for path in paths:
        if path in found.values():
            continue
        base = re.sub(r"[^\w-]+", "_", Path(path).name).strip("_") or "file"
        name, number = base, 1
        while name in found:
            number += 1
            name = f"{base}_{number}"
        found[name] = path
    return found
