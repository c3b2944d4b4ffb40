"""The datastore: folders whose levels are names or patterns, and the files of each type in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from rekindle.domain.errors import SlowPattern
from rekindle.domain.texts.patterns import SEARCH_SECONDS, compile_pattern

MODELS = "models"
"""The folder of the models in the datastore and in deliveries."""

TASK_FOLDER = "ZIGGY_TASK_DIR"
"""The variable with the folder of a task, relative to the project's folder if it is in it."""

OWN_PREFIX = ".rekindle-"
"""Names of unfinished copies begin with this. They are no data files."""

Values = Mapping[str, str]
"""The names of varying levels, by level."""


class Level(msgspec.Struct, frozen=True):
    """A level of a location: a folder's name, or a pattern of names."""

    name: str
    pattern: str | None = None


Location = tuple[Level, ...]


class FileType(msgspec.Struct, frozen=True):
    """A data file type: where its files are, and a pattern of their names."""

    name: str
    location: Location
    pattern: str
    everywhere: bool = False  # every subtask gets every file

    @property
    def varying(self) -> tuple[str, ...]:
        """The names of the varying levels, outermost first."""
        return tuple(level.name for level in self.location if level.pattern is not None)


class ModelType(msgspec.Struct, frozen=True):
    """A model type: a pattern of its files' names, and the groups that are version and time (0: none)."""

    name: str
    pattern: str
    version_group: int = 0
    time_group: int = 0


def match(pattern: str, text: str) -> tuple[str, ...] | None:
    """Return the groups of a pattern that matches the whole text, or None. Raise SlowPattern."""
    try:
        found = compile_pattern(pattern).compiled.fullmatch(text, timeout=SEARCH_SECONDS)
    except (TimeoutError, MemoryError):
        raise SlowPattern(pattern, SEARCH_SECONDS) from None
    return None if found is None else tuple(one or "" for one in found.groups())


def files_of_type(folder: Path, pattern: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the names in a folder that match a type's pattern, sorted, each with its groups."""
    try:
        names = sorted(one.name for one in folder.iterdir() if not one.name.startswith(OWN_PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(name, groups) for name in names if (groups := match(pattern, name)) is not None]


def existing_values(datastore: Path, file_type: FileType) -> Iterator[Values]:
    """Yield the values of the varying levels of each folder that holds a file of the type."""
    found: list[tuple[Path, dict[str, str]]] = [(datastore, {})]
    for level in file_type.location:
        found = [step for folder, values in found for step in _step_into(folder, values, level)]
    for folder, values in found:
        if files_of_type(folder, file_type.pattern):
            yield values


def _step_into(folder: Path, values: dict[str, str], level: Level) -> Iterator[tuple[Path, dict[str, str]]]:
    if level.pattern is None:
        if (folder / level.name).is_dir():
            yield folder / level.name, values
        return
    for name, _ in files_of_type(folder, level.pattern):
        if (folder / name).is_dir():
            yield folder / name, {**values, level.name: name}


def values_of_path(location: Location, folders: Sequence[str]) -> Values | None:
    """Return the values of the varying levels of a path, or None if it is not at the location."""
    if len(folders) != len(location):
        return None
    found: dict[str, str] = {}
    for level, name in zip(location, folders, strict=True):
        if level.pattern is None:
            if name != level.name:
                return None
        elif match(level.pattern, name) is None:
            return None
        else:
            found[level.name] = name
    return found


# --- models

_VERSIONED = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)\.(?P<version>\d{4,})-(?P<name>.+)")
"""The name of a model in the datastore: date of the import, version, own name."""


def newest_models(folder: Path, model: ModelType) -> list[tuple[str, str]]:
    """Return (name in the datastore, own name) of each model of the type in its newest version."""
    newest: dict[str, tuple[tuple[list[int], str, str, str], str, str]] = {}
    try:
        names = sorted(one.name for one in folder.iterdir() if one.is_file() and not one.name.startswith(OWN_PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    for stored in names:
        stamp = _VERSIONED.fullmatch(stored)
        own = stamp["name"] if stamp else stored
        groups = match(model.pattern, own)
        if groups is None:
            continue
        version = groups[model.version_group - 1] if model.version_group else stamp["version"] if stamp else "0"
        time = groups[model.time_group - 1] if model.time_group else stamp["date"] if stamp else ""
        rank = ([int(number) for number in re.findall(r"\d+", version)], version, time, stored)
        key = model.name if model.version_group or model.time_group else own
        if key not in newest or newest[key][0] < rank:
            newest[key] = rank, stored, own
    return [(stored, own) for _, stored, own in newest.values()]


def next_model_name(folder: Path, own: str, today: str) -> str:
    """Return the name in the datastore of a model that is imported today: with the version after the last."""
    found = (_VERSIONED.fullmatch(one.name) for one in folder.iterdir()) if folder.is_dir() else ()
    versions = [int(one["version"]) for one in found if one and one["name"] == own]
    return f"{today}.{max(versions, default=0) + 1:04}-{own}"
