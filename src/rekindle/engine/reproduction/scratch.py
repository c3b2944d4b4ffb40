"""The folder in which an attempt is made again: the files that it reads, laid out as in its project.

    DIR/project     the project's folder, with what lies beside it if the attempt reads that by a relative path
    DIR/attempt     the attempt's own folder (REKINDLE_DIR), and its logs beside it
    DIR/outside     files from elsewhere
    DIR/rekindle    the journal of the worker

Everything is a copy (a reflink where the file system can), so that nothing that runs here writes into the project.
Paths that begin with the project's folder, or with that of a file from elsewhere, are replaced in all texts of the
attempt's orders."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import Refused, RekindleError
from rekindle.domain.texts.patterns import glob_base
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.reproduction.recorded import with_token
from rekindle.files.file_patterns import matching_files
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.restored_outputs import RestoreTarget, restore
from rekindle.journal.trees import copy_file, copy_tree

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileContent
    from rekindle.engine.reproduction.drift import CachedOutput, Drift, SourceFile
    from rekindle.engine.reproduction.recorded import RecordedAttempt

SMALL_FILE = 1 << 20
"""Bytes up to which a file of the project that the attempt did not record is brought too: it may be a module that a
script imports, or its settings."""

MOST_SMALL_FILES = 10_000

_LEFT_OUT = {".rekindle", ".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".venv", ".mypy_cache"}
_MARK = "rekindle/attempt"  # the file by which a scratch folder is known
_PYTHON_CACHE = "PYTHONPYCACHEPREFIX"
_SEARCH_PATHS = ("PYTHONPATH",)
_JSON_STRING = lazy_regex(r'"(?:[^"\\]|\\.)*"')


class Scratch(msgspec.Struct, frozen=True):
    """A folder that is laid out for an attempt, and the attempt's orders with the paths of that folder.

    `brought`: how many files of the project that the attempt did not record were copied too. `environment`: the
    variables of the worker."""

    folder: str
    task: TaskTemplate
    assignment: Assignment
    brought: int
    environment: Mapping[str, str]
    moved: Mapping[str, str]  # by folder or file of the project's: its place here

    @property
    def spool(self) -> str:
        """The folder of the worker's journal."""
        return f"{self.folder}/rekindle"

    @property
    def directory(self) -> str:
        """The working directory of the attempt's steps."""
        return self.assignment.folder if self.task.workdir == "attempt" else self.task.directory

    def here(self, path: str) -> str:
        """Return the place of a path of the project's in this folder."""
        return _replace_roots(path, self.moved)

    def document_here(self, text: str) -> str:
        """Return a JSON document with the paths of this folder; all else in it stays as it was written."""
        return _relocated_document(text, self.moved)


def make_folder(attempt: int, into: str | None) -> str:
    """Return a new folder in the folder for temporary files, or `into`, made if it is missing. Refused unless `into` is
    empty."""
    if into is None:
        return os.path.realpath(mkdtemp(prefix=f"rekindle-{attempt}-"))
    folder = os.path.abspath(into)  # noqa: PTH100 - the path as it was typed
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        held = min(os.listdir(folder), default=None)  # noqa: PTH208 - a name
    except OSError as error:
        raise Refused(f"{into} cannot be used: {error.strerror}", hint="name a folder that can be made") from error
    if held is not None:
        raise Refused(f"{into} is not empty: it has {held}", hint="name another folder, or a new one")
    return os.path.realpath(folder)


def lay_out(one: RecordedAttempt, drift: Drift, folder: str, environment: Mapping[str, str]) -> Scratch:
    """Copy what an attempt reads into an empty folder. Refused, naming the file, if one cannot be copied."""
    places = _Places(one, drift, folder)
    try:
        brought = _copy_all(one, drift, places)
    except OSError as error:
        raise Refused(
            f"{error.filename or folder} cannot be copied: {error.strerror or error}",
            hint=f"see who may read it, and the room in {folder}; --into DIR names another folder",
        ) from error
    task = replace(
        _with_roots(one.task, places.moved, TaskTemplate),
        directory=places.of(one.task.directory),
        store=f"{folder}/rekindle",
        partial="keep",
        leave_running=False,
    )
    assignment = replace(
        _with_roots(with_token(one.assignment), places.moved, Assignment),
        folder=f"{folder}/attempt",
        inputs=_relocated_document(one.assignment.inputs, places.moved),
        before=_relocated_document(one.assignment.before, places.moved),
    )
    for name in ("attempt", "rekindle"):
        Path(folder, name).mkdir(exist_ok=True)
    Path(folder, _MARK).write_text(f"{one.attempt.id}\n", encoding="utf-8")
    variables = dict(environment)
    variables.update(
        {name: _replace_roots(text, places.moved) for name in _SEARCH_PATHS if (text := variables.get(name))}
    )
    variables.setdefault(_PYTHON_CACHE, f"{folder}/rekindle/pycache")
    return Scratch(folder, task, assignment, brought, variables, places.moved)


class _Places:
    """Where the files of a project lie in a scratch folder."""

    def __init__(self, one: RecordedAttempt, drift: Drift, folder: str) -> None:
        project = one.task.directory
        paths = [root for each in drift.sources if (root := _root(one, each.path)) is not None]
        paths += [each.path for each in one.prints.outputs]
        relative = [os.path.normpath(Path(project, text)) for text in _texts(one) if not text.startswith("/")]
        beside = [path for path in relative if path in paths and not _inside(path, project)]
        self.top = os.path.commonpath([project, *map(os.path.dirname, beside)]) if beside else project
        self.folder = folder
        self.moved = {one.own_folder: f"{folder}/attempt", one.store: f"{folder}/outside/store"}
        for path in paths:
            if not any(_inside(path, root) for root in (*self.moved, self.top)):
                self.moved[path] = f"{folder}/outside{path}"
        self.moved[self.top] = f"{folder}/project"

    def of(self, path: str) -> str:
        """Return the place of an absolute path."""
        return _replace_roots(path, self.moved)


def _root(one: RecordedAttempt, path: str) -> str | None:
    """Return the path to replace by its place: that of a file, or the folder of a pattern. None: a pattern in a command
    is no path that another text holds."""
    was = _recorded(one, path)
    if was is None or was.matched is None:
        return path
    return None if was.implicit else glob_base(path, was.matched.pattern)


def _texts(one: RecordedAttempt) -> Iterator[str]:
    """Yield the words by which the attempt names its files."""
    yield from one.task.inputs.values()
    yield from one.task.outputs.values()
    yield from (each.name for each in one.prints.inputs if each.implicit)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _replace_roots(text: str, moved: Mapping[str, str]) -> str:
    """Replace absolute paths that are one of these or lie within; the longest first."""
    found: str = _pattern(tuple(sorted(moved, key=len, reverse=True))).sub(lambda match: moved[match[0]], text)
    return found


def _pattern(roots: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, roots))})(?![\w.-])")


def _relocated(value: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _replace_roots(value, moved) if "/" in value else value
    if isinstance(value, dict):
        return {name: _relocated(each, moved) for name, each in value.items()}
    return [_relocated(each, moved) for each in value] if isinstance(value, list | tuple) else value


def _relocated_document(text: str, moved: Mapping[str, str]) -> str:
    """Replace paths in the strings of a JSON document. Numbers and spaces stay as they were written: a job that prints
    `{"v": 1e3}` prints the same text again."""

    def relocated(match: re.Match[str]) -> str:
        written = match[0]
        if "/" not in written and "\\" not in written:
            return written
        value = from_json(written)
        here = _replace_roots(value, moved)
        return written if here == value else to_json(here).decode()

    return _JSON_STRING.sub(relocated, text)


def _with_roots(value: Any, moved: Mapping[str, str], kind: Any) -> Any:
    return msgspec.convert(_relocated(msgspec.to_builtins(value), moved), kind)


def _copy_all(one: RecordedAttempt, drift: Drift, places: _Places) -> int:
    """Copy what the attempt recorded, then the small files of its project. Return the number of these."""
    for folder in _python_environments(one):
        Path(places.of(folder)).parent.mkdir(parents=True, exist_ok=True)
        copy_tree(folder, places.of(folder), lambda _: None)
    restored = {each.path: each.cached for each in drift.sources if each.cached is not None}
    for path, cached in sorted(restored.items()):  # a folder before what is in it or is copied into it
        _restore(one, cached, path, places)
    for each in drift.sources:
        for source, path in _files_of(one, each):
            _copy(source, places.of(path), each.excluded)
    recorded = {each.path for each in one.prints.inputs}  # also those that were not there
    outputs = _output_paths(one)
    skip = {*outputs.values()} | recorded | {one.store, places.folder}
    for made in one.prints.made.values():
        skip |= {os.path.normpath(Path(one.directory, name)) for name, there in made.items() if there}
    project = one.task.directory
    Path(places.of(project)).mkdir(parents=True, exist_ok=True)
    brought = 0
    for path in _small_files(project, skip, places):
        if brought < MOST_SMALL_FILES and _copy(path, places.of(path), ()):
            brought += 1
    for name, path in outputs.items():
        if name in one.prints.folders:
            Path(places.of(path)).mkdir(parents=True, exist_ok=True)
        elif Path(path).parent.is_dir():
            Path(places.of(path)).parent.mkdir(parents=True, exist_ok=True)
    return brought


def _output_paths(one: RecordedAttempt) -> dict[str, str]:
    """Return the declared outputs by name: those recorded; of an attempt that did not complete, those of its orders."""
    if one.prints.outputs:
        return {each.name: each.path for each in one.prints.outputs}
    params = {name: value for name, value in one.task.params.items() if name not in one.assignment.unset}
    scope = {
        "params": {**params, **(one.assignment.params or {})},
        "matrix": one.assignment.binding,
        "job": {"name": one.assignment.name, "id": one.assignment.job},
    }
    try:
        texts = {name: render_text(text, scope) for name, text in one.task.outputs.items()}
    except RekindleError:  # a value is missing, so the attempt did not start
        return {}
    return {name: os.path.normpath(Path(one.directory, text)) for name, text in texts.items()}


def _restore(one: RecordedAttempt, cached: CachedOutput, path: str, places: _Places) -> None:
    """Put an output from the content store to the place of a path. Refused if it has changed since it was found."""
    target = RestoreTarget(cached.name, places.of(path), cached.digest, places.folder)
    problem = restore(one.store, cached.attempt, [target])
    if problem is not None:
        raise Refused(
            f"{path} cannot be restored from the cache: {problem.text}",
            hint=f"see what differs now: rekindle reproduce {one.attempt.id}",
        )


def _python_environments(one: RecordedAttempt) -> Iterator[str]:
    """Yield the virtual environments in the project from which a command names a program."""
    project = Path(one.task.directory)
    found = set()
    for each in one.prints.inputs:
        if each.named == "program":
            around = [folder for folder in Path(each.path).parents if folder.is_relative_to(project)]
            found |= {str(folder) for folder in around if (folder / "pyvenv.cfg").is_file()}
    yield from sorted(found)


def _files_of(one: RecordedAttempt, each: SourceFile) -> Iterator[tuple[str, str]]:
    """Yield (file to copy, path that it stands for): the file itself, or the files that a pattern matches."""
    was = _recorded(one, each.path)
    if was is None or was.matched is None or os.path.lexists(each.path):
        if each.source is not None:
            yield each.source, each.path
        return
    for path in matching_files(each.path, was.matched.pattern, each.excluded).values():
        yield path, path


def _recorded(one: RecordedAttempt, path: str) -> FileContent | None:
    return next((was for was in one.prints.inputs if was.path == path), None)


def _small_files(project: str, skip: Collection[str], places: _Places) -> Iterator[str]:
    """Yield the small files of a project, without those that are recorded and folders of tools. Make its folders."""
    folders = [project]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # nobody could have read from it
        names = {entry.name for entry in entries}
        if folder != project and ("pyvenv.cfg" in names or Path(folder, _MARK).is_file()):
            continue
        Path(places.of(folder)).mkdir(parents=True, exist_ok=True)
        for entry in entries:
            if entry.path in skip or entry.name in _LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif _is_small(entry):
                yield entry.path


def _is_small(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() and entry.stat().st_size <= SMALL_FILE
    except OSError:
        return False


def _copy(source: str, target: str, excluded: Collection[str]) -> bool:
    """Copy a file or folder; symbolic links become what they lead to. Return whether a file was copied that was not
    there."""
    if Path(source).is_dir():
        seen = {os.path.realpath(source)}
        _copy_folder(source, target, excluded, seen)
        return False
    if os.path.lexists(target) or not Path(source).is_file():
        return False
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        copy_file(os.path.realpath(source), target, lambda _: None)
    except PermissionError:
        return False  # the attempt could not read it either
    Path(target).chmod(Path(target).stat().st_mode | 0o200)
    return True


def _copy_folder(source: str, target: str, excluded: Collection[str], seen: set[str]) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(source):
        if entry.path in excluded or entry.name in (".rekindle",):
            continue
        if not entry.is_dir():
            _copy(entry.path, f"{target}/{entry.name}", excluded)
        elif (real := os.path.realpath(entry.path)) not in seen:
            _copy_folder(entry.path, f"{target}/{entry.name}", excluded, seen | {real})
