"""Check a spec file without a store: its problems, what it defines, and what is probably a mistake."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from blake3 import blake3

from rekindle.domain.definition import Definition
from rekindle.domain.errors import RekindleError, SpecError, SpecProblem
from rekindle.domain.texts.patterns import is_glob, split_glob
from rekindle.domain.texts.substitution import find_references, render_text
from rekindle.spec.file_edges import PathIndex, absolute
from rekindle.spec.loading import SpecSource, assemble, changed_numbers, check_kind, read_bytes, read_tree
from rekindle.spec.nodes import MappingNode, Node, Problems, SourcePlace
from rekindle.spec.values import texts_within


class CheckedSpec(msgspec.Struct, frozen=True):
    """What a check found. `definition` is None if the spec has problems.

    `missing`: inputs that are not there and that no job writes. `unused`: parameters that no text refers to.
    `numbers`: numbers that do not keep their digits, as 3.10.
    """

    path: str
    definition: Definition | None = None
    problems: tuple[SpecProblem, ...] = ()
    missing: tuple[SpecProblem, ...] = ()
    unused: tuple[SpecProblem, ...] = ()
    numbers: tuple[SpecProblem, ...] = ()


def check(path: Path, params: Mapping[str, str] | None = None) -> CheckedSpec:
    """Read and check a spec file. `params` are `--param` values as typed."""
    try:
        content = read_bytes(path)
        problems = Problems(str(path))
        tree = read_tree(content, path.suffix, problems)
        check_kind(path, tree)
        directory = path.parent.resolve()
        source = SpecSource(str(directory), str(directory / path.name), blake3(content).hexdigest())
        definition = assemble(tree, params or {}, source, problems)
    except SpecError as error:
        return CheckedSpec(str(path), problems=error.problems)
    assert isinstance(tree, MappingNode)
    return CheckedSpec(
        str(path),
        definition,
        missing=tuple(_missing(definition, tree)),
        unused=tuple(_unused(definition, tree)),
        numbers=tuple(changed_numbers(tree, params or {})),
    )


def _missing(definition: Definition, tree: MappingNode) -> Iterator[SpecProblem]:
    """Yield inputs that are not there and that no job writes, one for each declaration."""
    index = PathIndex({path: job for job, _, path in _files(definition, "outputs")})
    found: dict[tuple[str, str], dict[str, None]] = {}
    for job, name, path in _files(definition, "inputs"):
        template = definition.templates[definition.jobs[job].template]
        if name in template.optional or _is_there(path) or _is_written(index, path):
            continue
        found.setdefault((template.name, name), {})[path] = None
    for (entry, name), paths in found.items():
        path, *others = paths
        place = _place(tree, "jobs", entry, "inputs", name)
        shown = os.path.relpath(path, definition.directory) if path.startswith(f"{definition.directory}/") else path
        more = f" ({len(others):,} more like it)" if others else ""
        text = f"no file matches the input {shown}" if is_glob(path) else f"the input {shown} is not there"
        yield SpecProblem(place.line, place.column, f"{text}, and no job writes it{more}")


def _files(definition: Definition, kind: str) -> Iterator[tuple[int, str, str]]:
    """Yield each job with the name and the absolute path of each of its inputs or outputs.

    Relative outputs of `workdir: attempt` jobs are left out: no other job reads them.
    """
    for position, job in enumerate(definition.jobs):
        template = definition.templates[job.template]
        scope = {"params": definition.params, "matrix": job.binding, "job": {"name": job.name}}
        for name, text in (template.inputs if kind == "inputs" else template.outputs).items():
            path = render_text(text, scope)
            if kind == "inputs" or template.workdir == "project" or path.startswith("/"):
                yield position, name, absolute(definition.directory, path)


def _is_there(path: str) -> bool:
    if Path(path).exists():
        return True
    if not is_glob(path):
        return False
    root = Path(path).anchor
    return next(Path(root).glob(path[len(root) :]), None) is not None


def _is_written(index: PathIndex, path: str) -> bool:
    if not is_glob(path):
        return bool(index.writers_of(path))
    folder, rest = split_glob(path)
    return bool(index.writers_matching(folder.rstrip("/") or "/", rest))


def _unused(definition: Definition, tree: MappingNode) -> Iterator[SpecProblem]:
    """Yield parameters that no text refers to."""
    others = MappingNode(tree.place, {key: entry for key, entry in tree.entries.items() if key != "params"})
    used = {reference for text, _ in texts_within(others) for reference in _parameters(text)}
    for name in definition.params:
        if name not in used:
            place = _place(tree, "params", name, key=True)
            yield SpecProblem(place.line, place.column, f"no job uses the parameter {name!r}")


def _parameters(text: str) -> Iterator[str]:
    try:
        yield from (one.path[0] for one in find_references(text) if one.scope == "params")
    except RekindleError:
        return  # a text that is not substituted, such as one below a free key


def _place(tree: Node, *path: str, key: bool = False) -> SourcePlace:
    """Return the place of the value at a path of keys, or of the nearest one around it. `key`: the place of its key."""
    place = tree.place
    for name in path:
        if not isinstance(tree, MappingNode) or name not in tree.entries:
            break
        entry = tree.entries[name]
        tree, place = entry.node, entry.place if key else entry.node.place
    return place
