"""Start a project: the starter spec, the schema for editors, and the specs that a folder has already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rekindle.domain.definition import normalize_name
from rekindle.spec.loading import read_tree
from rekindle.spec.nodes import MappingNode, Problems
from rekindle.spec.yaml_reader import resolve_plain

SCHEMA_FILE = "spec.schema.json"
"""The file of the JSON Schema, in a store's folder."""

_STARTER = "starter.yaml"
_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_LARGEST = 1024 * 1024
"""Bytes of a file that is looked at as a spec."""


def starter_text(name: str, schema: str | None, file: str) -> str:
    """Return the starter spec for a workflow of this name, in this file. `schema`: see `schema_line`."""
    text = (Path(__file__).parent / _STARTER).read_text(encoding="utf-8").replace("workflow.yaml", file)
    return schema_line(schema) + text.replace("name: NAME", f"name: {yaml_text(name)}", 1)


def schema_line(schema: str | None) -> str:
    """Return the line by which editors find the schema at a path; none where it is None."""
    return "" if schema is None else f"# yaml-language-server: $schema={schema}\n"


def schema_text() -> str:
    """Return the text of the schema's file."""
    from rekindle.spec.spec_schema import spec_schema

    return json.dumps(spec_schema(), indent=1, ensure_ascii=False) + "\n"


def workflow_name(folder: Path) -> str:
    """Return a workflow's name made from that of a folder."""
    name = normalize_name(folder.name.strip())
    return name if name.isprintable() and name and not name.isdecimal() and "${" not in name else "workflow"


def yaml_text(text: str) -> str:
    """Return a text as a YAML scalar: plain if that is safe."""
    plain = text.replace("-", "").replace("_", "").replace(".", "").isalnum() and text[:1].isalpha()
    return text if plain and resolve_plain(text) == text else json.dumps(text, ensure_ascii=False)


def specs_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that look like specs: mappings with a mapping `jobs`."""
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES and path.is_file() and path.stat().st_size <= _LARGEST and _is_spec(path):
            yield path


def _is_spec(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    if b"jobs" not in content:
        return False
    tree = read_tree(content, path.suffix, Problems(str(path)))
    return isinstance(tree, MappingNode) and isinstance(tree.get("jobs"), MappingNode)
