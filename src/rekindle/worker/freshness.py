"""Whether the code that a call host has loaded is still what stands on disk.

Files outside the standard library and the installed packages are looked at before every call, the installed ones at
most once a second. What counts is (mtime, ctime, size, inode): a change within one tick of a coarse clock, or with the
old mtime put back, is seen by one of the others. Python's own cache of compiled files compares whole seconds only;
it is not trusted for a source that changed less than two seconds before it was compiled.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from types import CodeType

_SETTLED = 2_000_000_000  # nanoseconds
_PACKAGES = ("/site-packages/", "/dist-packages/")
_STDLIB = os.path.dirname(os.__file__) + "/"
_SECOND = 1.0

Look = tuple[int, int, int, int]


def look(path: str) -> Look | None:
    """What tells a file's content without reading it; None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class Freshness:
    """What this process has loaded, and how its files looked when it did."""

    def __init__(self) -> None:
        """Watch imports from now on; modules loaded before count among the installed ones."""
        self._own: dict[str, Look | None] = {}
        self._installed: dict[str, Look | None] = {}
        self._known: set[str] = set()
        self._looked = time.monotonic()
        self._scan(self._installed)
        self._watch_imports()

    def changed(self) -> str | None:
        """A file that has changed since it was loaded; None: there is none."""
        if len(sys.modules) != len(self._known):
            self._scan(self._own)
        for path, seen in self._own.items():
            if look(path) != seen:
                return path
        now = time.monotonic()
        if now - self._looked >= _SECOND:
            self._looked = now
            for path, seen in self._installed.items():
                if look(path) != seen:
                    return path
        return None

    def loading(self, path: str) -> None:
        """A project's source file is about to be read."""
        self._own[path] = look(path)

    def _scan(self, own: dict[str, Look | None]) -> None:
        """Take up the modules that were loaded since; those of the project that have a source are known already."""
        for name, module in list(sys.modules.items()):
            if name in self._known:
                continue
            self._known.add(name)
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or path in self._own or path in self._installed:
                continue
            if any(part in path for part in _PACKAGES):
                self._installed[path] = look(path)
            elif not path.startswith(_STDLIB):
                own[path] = look(path)
        self._known.intersection_update(sys.modules)

    def _watch_imports(self) -> None:
        machinery = importlib.machinery
        freshness = self

        class Loader(machinery.SourceFileLoader):
            """Notes how a file looks before it is read, and does not take compiled code that may be older."""

            def get_code(self, fullname: str) -> CodeType | None:
                path = self.get_filename(fullname)
                freshness.loading(path)
                if _cache_is_safe(path):
                    return super().get_code(fullname)
                return self.source_to_code(self.get_data(path), path)

        hook = machinery.FileFinder.path_hook(
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (Loader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )

        def project_only(entry: str) -> object:
            folder = entry.rstrip("/") + "/"
            if folder.startswith(_STDLIB) or any(part in folder for part in _PACKAGES):
                raise ImportError(f"{entry} is not a project's")
            return hook(entry)

        sys.path_hooks.insert(0, project_only)  # type: ignore[arg-type]
        sys.path_importer_cache.clear()


def _cache_is_safe(path: str) -> bool:
    """The source had rested for two seconds when it was compiled, or has rested for so long and was never compiled."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    try:
        compiled = os.stat(importlib.util.cache_from_source(path)).st_mtime_ns
    except (OSError, NotImplementedError):
        compiled = time.time_ns()
    return compiled - changed > _SETTLED
