"""From a file's bytes to a tree, by its suffix; what cannot be read is told like everything else."""

from __future__ import annotations

from pathlib import Path

from rekindle.domain.errors import Problem, SpecError
from rekindle.spec.json_reader import read_json
from rekindle.spec.nodes import Node
from rekindle.spec.problems import Place, Problems
from rekindle.spec.toml_reader import read_toml
from rekindle.spec.yaml_reader import read_yaml

_READERS = {".json": read_json, ".toml": read_toml}


def read_bytes(path: Path) -> bytes:
    """The file's content; raises SpecError with a hint when there is none to be had."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        message, hint = "there is no such file", _near(path)
    except IsADirectoryError:
        message, hint = "is a folder, not a spec file", _near(path / "spec")
    except PermissionError:
        message, hint = "may not be read", f"chmod u+r {path}"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        message, hint = f"cannot be read: {getattr(error, 'strerror', None) or error}", ""
    raise SpecError(str(path), [Problem(0, 0, message, hint)])


def _near(path: Path) -> str:
    """Spec files that stand where the path points to."""
    try:
        found = sorted(
            entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml", ".json", ".toml")
        )
    except OSError:
        return f"nor a folder {path.parent}"
    return f"in {path.parent} there are: {', '.join(found[:10])}" if found else f"no spec is in {path.parent}"


def read_tree(content: bytes, suffix: str, problems: Problems) -> Node | None:
    """The tree of a spec; None: it is empty or cannot be read (then there is a problem).

    `.json` and `.toml` are read as what they say, anything else as YAML."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="ignore")
        place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        problems.add(place, f"not UTF-8: the byte 0x{content[error.start]:02x}", "save the file as UTF-8")
        return None
    return _READERS.get(suffix.lower(), read_yaml)(text, problems)
