"""What functions are made of: the definitions that they reach in their project's modules, and what these import.

Everything is found by reading files; nothing of the user's is imported. What is installed (the standard library,
site-packages) is no code of a project, except the package that a function itself is in; nor is rekindle. An imported
module counts by its file, wherever the import stands; definitions count by their syntax trees: see files.reaching and,
for the mapping that comes out, domain.changes.code.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from blake3 import blake3

from rekindle.domain.changes.prints import ABSENT, INTERPRETER, METHOD, whole_key
from rekindle.files.bindings import ModuleTree, read_tree
from rekindle.files.digests import Look, look, settled
from rekindle.files.environment import distributions, interpreter
from rekindle.files.finding import Finder, Found
from rekindle.files.reaching import Reach

_OURS = "rekindle"
_PACKAGES = ("/site-packages/", "/dist-packages/")
_STANDARD = tuple(f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "platstdlib"))


METHOD_NOW = f"tree 1 of Python {sys.version_info[0]}.{sys.version_info[1]}"
"""How syntax trees are compared: those of another minor version of Python may look different."""

_MOST_KEPT = 400_000  # bytes of source whose trees are kept for other functions


def search_path() -> list[str]:
    """Where a process for calls looks for modules, behind the project's folder: as this process does, without what a
    script or the working directory adds in front of it."""
    given = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    library = os.path.dirname(_STANDARD[0].rstrip("/"))
    at = next((at for at, entry in enumerate(sys.path) if os.path.dirname(entry) == library), 0)
    return list(dict.fromkeys([*given, *(entry for entry in sys.path[at:] if entry)]))


class _Module(NamedTuple):
    """A module's file as it was read."""

    look: Look | None
    taken_ns: int
    digest: str
    imports: frozenset[str]


class _Closure(NamedTuple):
    """An answer, and what must look as it did for the answer to hold."""

    recorded: dict[str, str]
    looked: dict[str, Look | None]
    taken_ns: int

    def holds(self) -> bool:
        return all(
            (seen is None or settled(seen, self.taken_ns)) and look(path) == seen for path, seen in self.looked.items()
        )


class Sources:
    """Answers again and again, reading only what looks different."""

    def __init__(self, path: Sequence[str]) -> None:
        """`path`: where modules are looked for behind the project's folder (see `search_path`)."""
        self._path = tuple(path)
        self._files: dict[tuple[str, str], _Module] = {}
        self._trees: dict[tuple[str, str], tuple[str, ModuleTree | str]] = {}
        self._kept = 0
        self._answers: dict[tuple[tuple[str, ...], str], _Closure] = {}

    def code(self, functions: Iterable[str], directory: str) -> dict[str, str]:
        """Return what functions ("module:name") are made of and run with, as domain.changes.code describes it; their
        own module is ABSENT where it is not found or has no file. `directory` is the project's folder."""
        key = tuple(sorted(set(functions))), directory
        known = self._answers.get(key)
        if known is None or not known.holds():
            known = self._answers[key] = self._close(*key)
        return known.recorded

    def _close(self, functions: Sequence[str], directory: str) -> _Closure:
        taken = time.time_ns()
        project = _Project(self, Finder([directory, *self._path]), functions)
        files, foreign = project.imported()
        found = {METHOD: METHOD_NOW, INTERPRETER.key: interpreter(), **files}
        reach = Reach(project)
        reach.follow(functions)
        if reach.anything:
            imported = (name for name, digest in files.items() if digest)
            whole, foreign = dict.fromkeys((*imported, *reach.ran), reach.anything), foreign | reach.foreign
        else:
            found |= reach.digests()
            whole, foreign = reach.whole, reach.foreign
        found |= project.digests(whole)
        found |= {whole_key(name): because for name, because in whole.items()}
        found |= {part.key: version for part, version in distributions(foreign).items()}
        looked = project.finder.looked
        if self._kept > _MOST_KEPT:
            self._trees.clear()
            self._kept = 0
        return _Closure(dict(sorted(found.items())), looked, taken)

    def read(self, name: str, path: str, package: str) -> _Module:
        """Return a module's file as it is now."""
        known = self._files.get((path, package))
        now = look(path)
        if known is None or now is None or known.look != now or not settled(now, known.taken_ns):
            known = self._files[path, package] = self._read(name, path, package, now)
        return known

    def tree(self, name: str, path: str, package: str) -> ModuleTree | str:
        """Return a module's top level; a text says why it cannot be read."""
        digest = self.read(name, path, package).digest
        if self._trees.get((name, path), ("", ""))[0] != digest:
            self._read(name, path, package, None)
        return self._trees[name, path][1]

    def _read(self, name: str, path: str, package: str, seen: Look | None) -> _Module:
        taken = time.time_ns()
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            self._trees[name, path] = ABSENT, "it cannot be read"
            return _Module(seen, taken, ABSENT, frozenset())
        digest, tree = str(blake3(content).hexdigest()), _parsed(content, name, path, package)
        self._trees[name, path] = digest, tree
        self._kept += len(content)
        return _Module(seen, taken, digest, tree.imported if isinstance(tree, ModuleTree) else frozenset())


def _parsed(content: bytes, name: str, path: str, package: str) -> ModuleTree | str:
    if not path.endswith(".py"):
        return "it is no Python source"
    try:
        return read_tree(content, name, package)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it cannot be parsed"


class _Project:
    """A project's modules, as files.reaching asks for them."""

    def __init__(self, sources: Sources, finder: Finder, functions: Iterable[str]) -> None:
        self.finder = finder
        self._sources = sources
        self._roots = {function.partition(":")[0] for function in functions}
        self._packages = {_top(root) for root in self._roots}
        self._foreign: dict[str, bool] = {}
        self._trees: dict[str, ModuleTree | str | None] = {}

    def imported(self) -> tuple[dict[str, str], set[str]]:
        """Return the digests of the modules that the functions import, directly or not, and the top-level names of
        those that are not the project's."""
        found: dict[str, str] = dict.fromkeys(self._roots, ABSENT)
        waiting = [name for root in self._roots for name in _with_parents(root)]
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
        """See files.reaching.Modules."""
        if name not in self._trees:
            module = None if self._is_foreign(name) else self.finder.find(name)
            self._trees[name] = (
                self._sources.tree(name, module.path, _package_of(name, module)) if module and module.path else None
            )
        return self._trees[name]

    def is_module(self, name: str) -> bool:
        """See files.reaching.Modules."""
        return not self._is_foreign(name) and self.finder.find(name) is not None

    def _is_foreign(self, name: str) -> bool:
        top = _top(name)
        if top not in self._foreign:
            self._foreign[top] = top not in self._packages and _is_foreign(self.finder, top)
        return self._foreign[top]


def _is_foreign(finder: Finder, top: str) -> bool:
    """Whether a top-level name is rekindle's, or of what is installed."""
    module = finder.find(top)
    if module is None or top == _OURS:
        return True
    places = [module.path] if module.path else list(module.inner)
    return all(_is_installed(place) for place in places)


def _is_installed(place: str) -> bool:
    return any(part in place for part in _PACKAGES) or place.startswith(_STANDARD)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _with_parents(name: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return (".".join(parts[: at + 1]) for at in range(len(parts)))


def _package_of(name: str, module: Found) -> str:
    """What the relative imports of a module start from."""
    return name if module.inner else name.rpartition(".")[0]
