"""Paths that a pattern matches, as `glob` of the standard library finds them, but each once and in linear time."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from rekindle.domain.texts.globs import is_pattern, matcher


def matched(pattern: str, folder: str) -> list[str]:
    """Return the paths that the pattern matches, sorted; relative to the folder unless the pattern is absolute."""
    if pattern.split("/").count("**") < 2:
        return sorted(glob.glob(pattern, root_dir=folder, recursive=True))
    return sorted(_Walk(folder, pattern.split("/")).found)


class _Walk:
    """A walk in which no folder is entered twice for the same rest of a pattern. `glob` does so with several `**`,
    and takes exponential time."""

    def __init__(self, folder: str, parts: list[str]) -> None:
        self._folder = folder
        self._parts = [part for at, part in enumerate(parts) if part or at in (0, len(parts) - 1)]
        self._entered: set[tuple[str, int]] = set()
        self.found: set[str] = set()
        self._begin("", 0)
        self.found.discard("")

    def _begin(self, prefix: str, at: int) -> None:
        """Match the parts from `at` on in a folder that those before match: `**` at the end matches the folder too."""
        if self._parts[at:] == ["**"]:
            self.found.add(prefix)
        self._enter(prefix, at)

    def _enter(self, prefix: str, at: int) -> None:
        """Match the parts from `at` on against what is in the folder `prefix`, which ends with a slash or is empty."""
        if (prefix, at) in self._entered:
            return
        self._entered.add((prefix, at))
        part, last = self._parts[at], at == len(self._parts) - 1
        if part == "**":
            if not last:
                self._begin(prefix, at + 1)
            for name, is_folder in self._names(prefix):
                if not name.startswith("."):
                    self.found.update([prefix + name] if last else [])
                    if is_folder:
                        self._enter(f"{prefix}{name}/", at)
        elif is_pattern(part):
            matches = matcher(part).fullmatch
            for name, is_folder in self._names(prefix):
                if matches(name) and (last or is_folder):
                    self._take(prefix + name, at)
        elif os.path.lexists(self._path(prefix + part)):
            self._take(prefix + part, at)

    def _take(self, path: str, at: int) -> None:
        """A path matches the parts up to `at`."""
        if at == len(self._parts) - 1:
            self.found.add(path)
        elif os.path.isdir(self._path(path)):
            self._begin(f"{path}/", at + 1)

    def _names(self, prefix: str) -> Iterator[tuple[str, bool]]:
        try:
            with os.scandir(self._path(prefix)) as entries:
                yield from ((entry.name, entry.is_dir()) for entry in entries)
        except OSError:
            return

    def _path(self, path: str) -> str:
        return os.path.join(self._folder, path)
