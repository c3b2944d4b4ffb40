"""Which modules functions are made of: their own, and those of the project that they import, and so on.

Everything is found by reading files; nothing of the user's is imported. An import counts wherever it stands, in a
function or behind `if TYPE_CHECKING` too. What is installed (the standard library, site-packages) does not count,
except the package that a function itself is in; nor does rekindle.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from blake3 import blake3

from rekindle.domain.changes.prints import ABSENT
from rekindle.files.digests import Look, look, settled
from rekindle.files.finding import Finder, Found
from rekindle.files.imports import imports_of

_OURS = "rekindle"
_PACKAGES = ("/site-packages/", "/dist-packages/")
_STANDARD = tuple(f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "platstdlib"))


def modules_of(functions: Iterable[str], directory: str, path: Sequence[str]) -> dict[str, str]:
    """The modules behind functions ("module:name"), each with the digest of its file, sorted by name; a function's own
    module is ABSENT where it is not found or has no file. `directory` is the project's folder, `path` where modules
    are looked for behind it (see `search_path`)."""
    return Sources(path).modules(functions, directory)


def digest_of_modules(modules: Mapping[str, str]) -> str:
    """One digest for all of them, half as long as that of a file: it stands on every attempt."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(modules.items()))
    return str(blake3(text.encode()).hexdigest(length=16))


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

    modules: dict[str, str]
    looked: dict[str, Look | None]
    taken_ns: int

    def holds(self) -> bool:
        return all(
            (seen is None or settled(seen, self.taken_ns)) and look(path) == seen for path, seen in self.looked.items()
        )


class Sources:
    """Answers again and again, reading only what looks different."""

    def __init__(self, path: Sequence[str]) -> None:
        """`path` as for `modules_of`."""
        self._path = tuple(path)
        self._files: dict[tuple[str, str], _Module] = {}
        self._answers: dict[tuple[tuple[str, ...], str], _Closure] = {}

    def modules(self, functions: Iterable[str], directory: str) -> dict[str, str]:
        """See `modules_of`."""
        key = tuple(sorted(set(functions))), directory
        known = self._answers.get(key)
        if known is None or not known.holds():
            known = self._answers[key] = self._close(*key)
        return known.modules

    def _close(self, functions: Sequence[str], directory: str) -> _Closure:
        taken = time.time_ns()
        finder = Finder([directory, *self._path])
        roots = {function.partition(":")[0] for function in functions}
        packages = {_top(root) for root in roots}
        found: dict[str, str] = dict.fromkeys(roots, ABSENT)
        waiting = [name for root in roots for name in _with_parents(root)]
        met: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in met:
                continue
            met.add(name)
            if _top(name) not in packages and _is_foreign(finder, _top(name)):
                continue
            module = finder.find(name)
            if module is None or module.path is None:
                continue
            read = self._read(module.path, _package_of(name, module))
            finder.looked[module.path] = read.look
            found[name] = read.digest
            waiting += (each for one in read.imports for each in _with_parents(one))
        return _Closure(dict(sorted(found.items())), finder.looked, taken)

    def _read(self, path: str, package: str) -> _Module:
        known = self._files.get((path, package))
        now = look(path)
        if known is None or now is None or known.look != now or not settled(now, known.taken_ns):
            known = self._files[path, package] = _read(path, package, now)
        return known


def _read(path: str, package: str, seen: Look | None) -> _Module:
    taken = time.time_ns()
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return _Module(seen, taken, ABSENT, frozenset())
    imports = imports_of(content, package) if path.endswith(".py") else frozenset()
    return _Module(seen, taken, str(blake3(content).hexdigest()), imports)


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
