"""The steps of a task, which jobs call: marshal its subtasks, write their inputs, and store their outputs.

A task has the folder `<instance>-<task>-<node>`, with a folder `st-K` for each subtask. Programs find the names of
their files and the parameters in `<node>-inputs.json`, where Ziggy has `<node>-inputs.h5`, with the same keys.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from rekindle.dialects.ziggy.datastore import OWN_PREFIX, TASK_FOLDER, ModelType, files_of_type, newest_models
from rekindle.dialects.ziggy.parameter_types import parse_value
from rekindle.domain.errors import BadValue, Refused

_PART = ".marshaling"
_INPUTS, _SUBTASKS = ".inputs", "subtasks.json"


class TypedFiles(TypedDict):
    """A data file type: its folder for this unit of work, and the pattern of its files."""

    name: str
    folder: str
    pattern: str
    everywhere: bool  # every subtask gets every file


class Subtask(TypedDict):
    """A subtask: its folder, and the names of the files in it."""

    name: str
    files: list[str]
    models: list[str]


class MarshaledParameter(TypedDict):
    """A parameter with its value for this attempt."""

    set: str
    name: str
    type: str
    value: Any


# --- marshaling


def marshal(inputs: Sequence[TypedFiles], models: Sequence[Mapping[str, Any]], single: bool) -> dict[str, int]:
    """Make the task's folder: link the inputs and models of each subtask into a folder of its own.

    An earlier folder of the task is kept beside the new one. Raise Refused if there is no subtask."""
    task = Path(os.environ[TASK_FOLDER])
    part = task.with_name(task.name + _PART)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    found = _models(models)
    subtasks: list[Subtask] = []
    for number, files in enumerate(_group_files(inputs, single)):
        name = f"st-{number}"
        folder = part / name
        folder.mkdir()
        for path in (*files, *found):
            place_file(path, folder / found.get(path, path.name))
        subtasks.append(Subtask(name=name, files=[one.name for one in files], models=list(found.values())))
    (part / _INPUTS).mkdir()
    write_file(part / _INPUTS / _SUBTASKS, json.dumps(subtasks))
    (part / f"QUEUED.{time.time_ns() // 1_000_000}").touch()
    _keep_earlier(task)
    part.rename(task)
    print(f"{task}: {len(subtasks)} subtasks")
    return {"subtasks": len(subtasks)}


def _models(models: Iterable[Mapping[str, Any]]) -> dict[Path, str]:
    """Return the models' paths, each with its own name."""
    found = {}
    for one in models:
        model = ModelType(one["name"], one["pattern"], one["version_group"], one["time_group"])
        newest = newest_models(Path(one["folder"]), model)
        if not newest:
            raise Refused(f"no model of the type {model.name!r} is in {one['folder']}")
        found.update({Path(one["folder"]) / stored: own for stored, own in newest})
    return found


def _group_files(inputs: Sequence[TypedFiles], single: bool) -> list[list[Path]]:
    """Return the files of each subtask.

    Files of equal groups are in one subtask. Those of a pattern without groups are in each, as are those of a type that
    is everywhere."""
    shared: list[Path] = []
    grouped: list[dict[tuple[str, ...], list[Path]]] = []
    for one in inputs:
        folder = Path(one["folder"])
        files = files_of_type(folder, one["pattern"])
        if not files:
            raise Refused(f"no file of the type {one['name']!r} is in {folder}")
        if single or one["everywhere"] or not files[0][1]:
            shared += [folder / name for name, _ in files]
            continue
        groups: dict[tuple[str, ...], list[Path]] = {}
        for name, key in files:
            groups.setdefault(key, []).append(folder / name)
        grouped.append(groups)
    if not grouped:
        return [_check_names(shared)]
    keys = dict.fromkeys(key for groups in grouped for key in groups)
    complete = {key: None for key in keys if all(key in groups for groups in grouped)}
    for key in keys:
        if key not in complete:
            print(f"left out: {', '.join(key)}: it has no file of each type")
    if not complete:
        raise Refused("no subtask has a file of each type")
    return [_check_names([*(path for groups in grouped for path in groups[key]), *shared]) for key in complete]


def _check_names(files: list[Path]) -> list[Path]:
    names: set[str] = set()
    for one in files:
        if one.name in names:
            raise Refused(f"two inputs of one subtask have the name {one.name}")
        names.add(one.name)
    return files


def place_file(path: Path, target: Path) -> None:
    """Make a file, or a folder of files, appear at a target: by hard links, or as copies where they cannot be made."""
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_link)
    else:
        _link(str(path), str(target))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, one without links, or a file of somebody else
        shutil.copy2(source, target)


def _keep_earlier(task: Path) -> None:
    """Rename an earlier folder of the task to `NAME.N`."""
    if task.exists():
        number = 1
        while task.with_name(f"{task.name}.{number}").exists():
            number += 1
        task.rename(task.with_name(f"{task.name}.{number}"))


# --- the algorithm


def begin(outputs: Sequence[str], parameters: Sequence[MarshaledParameter]) -> list[str]:
    """Write what each subtask's program reads, with the parameters of this attempt; return the subtasks' names.

    A subtask copies its file as it starts, so a complete one keeps the file that it has read. `outputs`: the patterns
    of outputs. A subtask puts those aside that are there as it starts: if this run makes none, none is stored."""
    task = Path(os.environ[TASK_FOLDER])
    values: dict[str, dict[str, Any]] = {}
    for one in parameters:
        values.setdefault(one["set"], {})[one["name"]] = _checked_value(one)
    subtasks = _read_subtasks(task)
    for subtask in subtasks:
        document = {
            "dataFilenames": subtask["files"],
            "modelFilenames": subtask["models"],
            "moduleParameters": values,
        }
        write_file(task / _INPUTS / f"{subtask['name']}.json", json.dumps(document, indent=2))
        left = {name for pattern in outputs for name in _made(task / subtask["name"], pattern, subtask)}
        write_file(task / _INPUTS / f"{subtask['name']}.left", "".join(f"{name}\n" for name in sorted(left)))
    return [subtask["name"] for subtask in subtasks]


def _read_subtasks(task: Path) -> list[Subtask]:
    subtasks: list[Subtask] = json.loads((task / _INPUTS / _SUBTASKS).read_text(encoding="utf-8"))
    return subtasks


def _made(folder: Path, pattern: str, subtask: Subtask) -> list[str]:
    """Return the files of a subtask that match a pattern, but for its inputs and models."""
    given = {*subtask["files"], *subtask["models"]}
    return [name for name, _ in files_of_type(folder, pattern) if name not in given]


def _checked_value(parameter: MarshaledParameter) -> Any:
    """Return a parameter's value. Raise BadValue if a restart has set one of another type."""
    value, kind = parameter["value"], parameter["type"]
    texts = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
    try:
        if isinstance(value, list) and not kind.endswith("array"):
            raise ValueError(f"{value} is no {kind}")
        return parse_value(",".join(texts), kind)
    except ValueError as error:
        raise BadValue(f"the parameter {parameter['name']}: {error}") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def write_file(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f"{OWN_PREFIX}{path.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


# --- storing


def store(outputs: Sequence[TypedFiles], complete: Sequence[Mapping[str, Any]]) -> None:
    """Move the outputs of the complete subtasks into the datastore.

    Repeated after an interruption, it moves the rest. Raise Refused, and move nothing, if two subtasks have made a file
    of one name."""
    task = Path(os.environ[TASK_FOLDER])
    done = {one["item"] for one in complete}
    moves: dict[Path, Path] = {}
    for subtask in _read_subtasks(task):
        if subtask["name"] not in done:
            print(f"left out: {subtask['name']} is not complete")
            continue
        for one in outputs:
            for name in _made(task / subtask["name"], one["pattern"], subtask):
                target = Path(one["folder"]) / name
                if target in moves:
                    raise Refused(f"{moves[target].parent.name} and {subtask['name']} have both made {name}")
                moves[target] = task / subtask["name"] / name
    for one in outputs:
        Path(one["folder"]).mkdir(parents=True, exist_ok=True)
    for target, path in moves.items():
        move_file(path, target)
    print(f"stored: {len(moves)} files of {len(done)} subtasks")


def move_file(path: Path, target: Path) -> None:
    """Move a file or folder in the place of another, which is there until then."""
    part = target.with_name(f"{OWN_PREFIX}{target.name}")
    _remove(part)
    if target.is_dir():
        target.rename(part)
    try:
        path.replace(target)
    except OSError:  # another file system
        copy = target.with_name(f"{OWN_PREFIX}copy-{target.name}")
        _remove(copy)
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copy2(path, copy)
        copy.replace(target)
        _remove(path)
    _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
