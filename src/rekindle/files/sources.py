"""Digests of the code of functions: the definitions that they reach in their project's modules, and the imports of
these.

Everything is found by reading files; no user code is imported. Installed code (the standard library, site-packages) is
not part of a project, except the package that a function itself is in; rekindle never is. An imported module counts by
its file, wherever the import stands; definitions count by their syntax trees: see files.reachable_code and, for the
resulting mapping, domain.changes.differences."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from typing import NamedTuple

import msgspec
from blake3 import blake3

from rekindle.domain.changes.fingerprints import ABSENT, INTERPRETER, METHOD, whole_key
from rekindle.domain.texts.function_source import function_name, is_source
from rekindle.files.bindings import ModuleTree, read_tree
from rekindle.files.dependencies import distributions, interpreter
from rekindle.files.digests import FileStat, file_stat, is_settled
from rekindle.files.reachable_code import DefinitionTracer

_OURS = "rekindle"
_PACKAGES = ("/site-packages/", "/dist-packages/")


@cache
def _standard_library() -> tuple[str, ...]:
    """Return the folders of the standard library."""
    import sysconfig

    return tuple(f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "platstdlib"))


METHOD_NOW = f"tree 1 of Python {sys.version_info[0]}.{sys.version_info[1]}"
"""How syntax trees are compared: another minor version of Python may produce different ones."""

_MOST_KEPT = 400_000  # bytes of source whose trees are kept for other functions


def search_path() -> list[str]:
    """Return where a process for calls looks for modules, behind the project's folder: this process's path without
    the entries that a script or the working directory adds in front."""
    given = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    library = os.path.dirname(_standard_library()[0].rstrip("/"))
    at = next((at for at, entry in enumerate(sys.path) if os.path.dirname(entry) == library), 0)
    return list(dict.fromkeys([*given, *(entry for entry in sys.path[at:] if entry)]))


class _ReadModule(NamedTuple):
    """A module's file as it was read."""

    look: FileStat | None
    taken_ns: int
    digest: str
    imports: frozenset[str]


class _CachedCode(NamedTuple):
    """A result, and the files' stat that must be equal for the result to hold."""

    recorded: dict[str, str]
    looked: dict[str, FileStat | None]
    taken_ns: int

    def holds(self) -> bool:
        return all(
            (seen is None or is_settled(seen, self.taken_ns)) and file_stat(path) == seen
            for path, seen in self.looked.items()
        )


class CodeDigester:
    """Computes code digests repeatedly, and reads only files whose stat has changed."""

    def __init__(self, path: Sequence[str]) -> None:
        """`path`: where modules are looked for behind the project's folder (see `search_path`)."""
        self._path = tuple(path)
        self._files: dict[tuple[str, str], _ReadModule] = {}
        self._trees: dict[tuple[str, str], tuple[str, ModuleTree | str]] = {}
        self._kept = 0
        self._answers: dict[tuple[tuple[str, ...], str], _CachedCode] = {}

    def code(self, functions: Iterable[str], directory: str) -> dict[str, str]:
        """Return the digests of the code of functions ("module:name") and of their environment, as
        domain.changes.differences describes; their own module is ABSENT if it is not found or has no file.
        `directory` is the project's folder."""
        key = tuple(sorted(set(functions))), directory
        known = self._answers.get(key)
        if known is None or not known.holds():
            known = self._answers[key] = self._close(*key)
        return known.recorded

    def _close(self, functions: Sequence[str], directory: str) -> _CachedCode:
        taken = time.time_ns()
        held = {_held_module(text): text for text in functions if is_source(text)}
        functions = [f"{_held_module(one)}:{function_name(one)}" if is_source(one) else one for one in functions]
        project = _Project(self, ModuleFinder([directory, *self._path]), functions, held)
        files, foreign = project.imported()
        found = {METHOD: METHOD_NOW, INTERPRETER.key: interpreter(), **files}
        reach = DefinitionTracer(project)
        reach.follow(functions)
        if reach.anything:
            imported = (name for name, digest in files.items() if digest)
            whole, foreign = dict.fromkeys((*imported, *reach.ran), reach.anything), foreign | reach.foreign
        else:
            found |= reach.digests()
            whole, foreign = reach.whole, reach.foreign
        found = {key: digest for key, digest in found.items() if key.partition(":")[0] not in held}
        whole = {name: because for name, because in whole.items() if name not in held}
        found |= project.digests(whole)
        found |= {whole_key(name): because for name, because in whole.items()}
        found |= {part.key: version for part, version in distributions(foreign).items()}
        looked = project.finder.looked
        if self._kept > _MOST_KEPT:
            self._trees.clear()
            self._kept = 0
        return _CachedCode(dict(sorted(found.items())), looked, taken)

    def read(self, name: str, path: str, package: str) -> _ReadModule:
        """Return a module's current file."""
        known = self._files.get((path, package))
        now = file_stat(path)
        if known is None or now is None or known.look != now or not is_settled(now, known.taken_ns):
            known = self._files[path, package] = self._read(name, path, package, now)
        return known

    def tree(self, name: str, path: str, package: str) -> ModuleTree | str:
        """Return a module's top level, or a text that says why it cannot be read."""
        digest = self.read(name, path, package).digest
        if self._trees.get((name, path), ("", ""))[0] != digest:
            self._read(name, path, package, None)
        return self._trees[name, path][1]

    def _read(self, name: str, path: str, package: str, seen: FileStat | None) -> _ReadModule:
        taken = time.time_ns()
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            self._trees[name, path] = ABSENT, "it cannot be read"
            return _ReadModule(seen, taken, ABSENT, frozenset())
        digest, tree = str(blake3(content).hexdigest()), _parsed(content, name, path, package)
        self._trees[name, path] = digest, tree
        self._kept += len(content)
        return _ReadModule(seen, taken, digest, tree.imported if isinstance(tree, ModuleTree) else frozenset())


def _parsed(content: bytes, name: str, path: str, package: str) -> ModuleTree | str:
    if not path.endswith(".py"):
        return "it is no Python source"
    try:
        return read_tree(content, name, package)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it cannot be parsed"


class _Project:
    """A project's modules, as files.reachable_code uses them."""

    def __init__(
        self, sources: CodeDigester, finder: ModuleFinder, functions: Iterable[str], held: Mapping[str, str]
    ) -> None:
        """`held`: the sources of functions that have no file, by the names of modules that stand for these."""
        self.finder = finder
        self._held = {name: _parsed(text.encode(), name, ".py", "") for name, text in held.items()}
        self._sources = sources
        self._roots = {function.partition(":")[0] for function in functions}
        self._packages = {_top(root) for root in self._roots}
        self._foreign: dict[str, bool] = {}
        self._trees: dict[str, ModuleTree | str | None] = {}

    def imported(self) -> tuple[dict[str, str], set[str]]:
        """Return the digests of the modules that the functions import, directly or not, and the top-level names of
        imported modules outside the project."""
        found: dict[str, str] = dict.fromkeys(self._roots - self._held.keys(), ABSENT)
        waiting = [name for root in found for name in _with_parents(root)]
        for tree in self._held.values():
            imports = tree.imported if isinstance(tree, ModuleTree) else ()
            waiting += (name for one in imports for name in _with_parents(one))
        met: set[str] = set()
        foreign: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in met:
                continue
            met.add(name)
            if self._is_foreign(name):
                foreign.add(_top(name))
                continue
            module = self.finder.find(name)
            if module is None or module.path is None:
                continue
            read = self._sources.read(name, module.path, _package_of(name, module))
            self.finder.looked[module.path] = read.look
            found[name] = read.digest
            waiting += (each for one in read.imports for each in _with_parents(one))
        return found, foreign

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the digests of these modules."""
        found = {}
        for name in names:
            if (module := self.finder.find(name)) is not None and module.path is not None:
                read = self._sources.read(name, module.path, _package_of(name, module))
                self.finder.looked[module.path] = read.look
                found[name] = read.digest
        return found

    def tree(self, name: str) -> ModuleTree | str | None:
        """See files.reachable_code.ProjectModules."""
        if name in self._held:
            return self._held[name]
        if name not in self._trees:
            module = None if self._is_foreign(name) else self.finder.find(name)
            self._trees[name] = (
                self._sources.tree(name, module.path, _package_of(name, module)) if module and module.path else None
            )
        return self._trees[name]

    def is_module(self, name: str) -> bool:
        """See files.reachable_code.ProjectModules."""
        return name in self._held or (not self._is_foreign(name) and self.finder.find(name) is not None)

    def _is_foreign(self, name: str) -> bool:
        top = _top(name)
        if top not in self._foreign:
            self._foreign[top] = top not in self._packages and _is_foreign(self.finder, top)
        return self._foreign[top]


def _held_module(source: str) -> str:
    """Return the name that stands for the module of a function that is held as source."""
    return f"source {blake3(source.encode()).hexdigest(12)}"


def _is_foreign(finder: ModuleFinder, top: str) -> bool:
    """Return whether a top-level name belongs to rekindle or to installed code."""
    module = finder.find(top)
    if module is None or top == _OURS:
        return True
    places = [module.path] if module.path else list(module.inner)
    return all(_is_installed(place) for place in places)


def _is_installed(place: str) -> bool:
    return any(part in place for part in _PACKAGES) or place.startswith(_standard_library())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _with_parents(name: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return (".".join(parts[: at + 1]) for at in range(len(parts)))


def _package_of(name: str, module: ModuleFile) -> str:
    """Return the base of a module's relative imports."""
    return name if module.inner else name.rpartition(".")[0]


_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
_EDITABLE = "__editable__"


class ModuleFile(msgspec.Struct, frozen=True):
    """A module. `path` is its file (None: a namespace package), `inner` the folders that contain its modules."""

    path: str | None
    inner: tuple[str, ...] = ()


class ModuleFinder:
    """Finds modules in folders as the import system would, without importing any. `looked` has the stat of each
    listed folder."""

    def __init__(self, path: Sequence[str]) -> None:
        self._path = tuple(path)
        self._known: dict[str, ModuleFile | None] = {}
        self._listed: dict[str, frozenset[str]] = {}
        self.looked: dict[str, FileStat | None] = {}

    def find(self, name: str) -> ModuleFile | None:
        """Return the module of a dotted name; None if there is none, or if it has no file."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> ModuleFile | None:
        package, _, last = name.rpartition(".")
        if not package:
            if not last or last in sys.builtin_module_names:
                return None
            return self._within(self._path, last) or _installed_in_place(last)
        parent = self.find(package)
        return self._within(parent.inner, last) if parent and last else None

    def _within(self, folders: Sequence[str], name: str) -> ModuleFile | None:
        portions = []
        for folder in folders:
            names = self._list(folder)
            inner = os.path.join(folder, name)
            is_folder = name in names and os.path.isdir(inner)
            if is_folder and (path := self._file(inner, "__init__")):
                return ModuleFile(path, (inner,))
            if path := self._file(folder, name):
                return ModuleFile(path)
            if is_folder:
                portions.append(inner)
        return ModuleFile(None, tuple(portions)) if portions else None

    def _file(self, folder: str, name: str) -> str | None:
        names = self._list(folder)
        paths = (os.path.join(folder, name + suffix) for suffix in _SUFFIXES if name + suffix in names)
        return next((path for path in paths if os.path.isfile(path)), None)

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            self.looked[folder] = file_stat(folder)
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _installed_in_place(name: str) -> ModuleFile | None:
    """Return a top-level module that an editable installation maps to a project's folder."""
    for finder in sys.meta_path:
        if not getattr(finder, "__module__", "").startswith(_EDITABLE):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None:
            return ModuleFile(spec.origin if spec.has_location else None, tuple(spec.submodule_search_locations or ()))
    return None
