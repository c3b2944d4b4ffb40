"""Where modules are, as the import system would find them, without importing any."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES

from rekindle.files.digests import Look, look

_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
_EDITABLE = "__editable__"


@dataclass(frozen=True, slots=True)
class Found:
    """A module. `path` is its file (None: a namespace package), `inner` the folders that hold its own modules."""

    path: str | None
    inner: tuple[str, ...] = ()


class Finder:
    """Finds modules in folders, the first that has one wins. `looked` has how each folder looked that it listed."""

    def __init__(self, path: Sequence[str]) -> None:
        self._path = tuple(path)
        self._known: dict[str, Found | None] = {}
        self._listed: dict[str, frozenset[str]] = {}
        self.looked: dict[str, Look | None] = {}

    def find(self, name: str) -> Found | None:
        """The module of a dotted name; None: there is none, or it has no file."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Found | None:
        package, _, last = name.rpartition(".")
        if not package:
            if not last or last in sys.builtin_module_names:
                return None
            return self._within(self._path, last) or _installed_in_place(last)
        parent = self.find(package)
        return self._within(parent.inner, last) if parent and last else None

    def _within(self, folders: Sequence[str], name: str) -> Found | None:
        portions = []
        for folder in folders:
            names = self._list(folder)
            inner = os.path.join(folder, name)
            is_folder = name in names and os.path.isdir(inner)
            if is_folder and (path := self._file(inner, "__init__")):
                return Found(path, (inner,))
            if path := self._file(folder, name):
                return Found(path)
            if is_folder:
                portions.append(inner)
        return Found(None, tuple(portions)) if portions else None

    def _file(self, folder: str, name: str) -> str | None:
        names = self._list(folder)
        paths = (os.path.join(folder, name + suffix) for suffix in _SUFFIXES if name + suffix in names)
        return next((path for path in paths if os.path.isfile(path)), None)

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            self.looked[folder] = look(folder)
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _installed_in_place(name: str) -> Found | None:
    """A top-level module that an editable installation maps to a project's folder, as that tells."""
    for finder in sys.meta_path:
        if not getattr(finder, "__module__", "").startswith(_EDITABLE):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None:
            return Found(spec.origin if spec.has_location else None, tuple(spec.submodule_search_locations or ()))
    return None
