"""A spec file becomes a Definition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from rekindle.domain.definition import Definition
from rekindle.spec.assemble import Origin, assemble
from rekindle.spec.files import read_bytes, read_tree
from rekindle.spec.problems import Problems


def load(path: Path, *, params: Mapping[str, str] | None = None) -> Definition:
    """Read and check a spec file: YAML, JSON (`.json`) or TOML (`.toml`).

    `params` are `--param` values as they were typed, for parameters that the spec declares. The file's folder is the
    project's. Raises SpecError with every problem, each with its line and column.
    """
    content = read_bytes(path)
    directory = path.parent.resolve()
    origin = Origin(str(directory), str(directory / path.name), blake3(content).hexdigest())
    problems = Problems(str(path))
    root = read_tree(content, path.suffix, problems)
    return assemble(root, params or {}, origin, problems)
