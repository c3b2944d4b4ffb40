"""Paths that match a glob pattern, and the items of a fan-out that are known without running anything.

`glob_paths` finds what `glob` of the standard library finds, but each path once, in linear time, and without going
around a loop of symbolic links."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rekindle.domain.errors import BadValue
from rekindle.domain.subtasks import first_duplicate, item_text
from rekindle.domain.texts.display import show_json_bytes
from rekindle.domain.texts.patterns import compile_glob, glob_base, is_glob, split_glob
from rekindle.domain.texts.substitution import format_word, render_value

if TYPE_CHECKING:
    from rekindle.domain.definition import Each


def glob_paths(pattern: str, folder: str) -> list[str]:
    """Return the paths that match the pattern, sorted; relative to the folder unless the pattern is absolute."""
    if "**" not in pattern.split("/"):
        return sorted(glob.glob(pattern, root_dir=folder, recursive=True))
    return sorted(_Walk(folder, pattern.split("/")).found)


class _Walk:
    """A walk that enters no folder twice for the same rest of a pattern, and for `**` no folder through a link from
    inside of it. `glob` does so with several `**`, or several links, and takes exponential time."""

    def __init__(self, folder: str, parts: list[str]) -> None:
        self._folder = folder
        self._parts = [part for at, part in enumerate(parts) if part or at in (0, len(parts) - 1)]
        self._entered: set[tuple[str, int]] = set()
        self.found: set[str] = set()
        self._begin("", 0)
        self.found.discard("")

    def _begin(self, prefix: str, at: int) -> None:
        """Match the parts from `at` on in a folder that the earlier parts match. `**` at the end matches the folder
        too."""
        if self._parts[at:] == ["**"]:
            self.found.add(prefix)
        self._enter(prefix, at)

    def _enter(self, prefix: str, at: int) -> None:
        """Match the parts from `at` on against the content of the folder `prefix`, which ends with a slash or is
        empty."""
        if (prefix, at) in self._entered:
            return
        self._entered.add((prefix, at))
        part, last = self._parts[at], at == len(self._parts) - 1
        if part == "**":
            if not last:
                self._begin(prefix, at + 1)
            for entry in self._entries(prefix):
                if not entry.name.startswith("."):
                    self.found.update([prefix + entry.name] if last else [])
                    if _is_folder(entry) and not (entry.is_symlink() and self._leads_back(prefix, entry)):
                        self._enter(f"{prefix}{entry.name}/", at)
        elif is_glob(part):
            matches = compile_glob(part).fullmatch
            for entry in self._entries(prefix):
                if matches(entry.name) and (last or _is_folder(entry)):
                    self._take(prefix + entry.name, at)
        elif os.path.lexists(self._path(prefix + part)):
            self._take(prefix + part, at)

    def _take(self, path: str, at: int) -> None:
        """Record or enter a path that matches the parts up to `at`."""
        if at == len(self._parts) - 1:
            self.found.add(path)
        elif os.path.isdir(self._path(path)):
            self._begin(f"{path}/", at + 1)

    def _leads_back(self, prefix: str, link: os.DirEntry[str]) -> bool:
        """Return whether a link in the folder `prefix` leads to a folder that the walk is in."""
        within = [prefix[: at + 1] for at, each in enumerate(prefix) if each == "/"]
        try:
            target = link.stat()
            return any(os.path.samestat(target, os.stat(self._path(one) or ".")) for one in ("", *within))
        except OSError:
            return True

    def _entries(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._path(prefix) or ".") as entries:
                yield from entries
        except OSError:
            return

    def _path(self, path: str) -> str:
        return os.path.join(self._folder, path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one that can be followed."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def matching_files(path: str, pattern: str, without: Collection[str] = ()) -> dict[str, str]:
    """Return the files that match a pattern whose location is `path` (see domain.texts.patterns), sorted: absolute
    paths by name, where names are relative as the pattern is. Paths at or below `without` are left out. If the
    pattern ends with `**`, so are folders, because their files match too."""
    head, rest = split_glob(pattern)
    folder = glob_base(path, pattern)
    found = {head + name: os.path.join(folder, name) for name in glob_paths(rest, folder)}
    if without:
        below = tuple(f"{one}/" for one in without)
        found = {name: inner for name, inner in found.items() if inner not in without and not inner.startswith(below)}
    if rest.rpartition("/")[2] == "**":
        return {name: inner for name, inner in found.items() if not os.path.isdir(inner)}
    return found


def static_items(each: Each, scope: Mapping[str, Any], directory: str) -> list[str] | None:
    """Return the items of a pattern (the matching paths, sorted) or of a list as JSON texts; None if a command or a
    call supplies the items. Raise UnknownWord for a missing value and BadValue for a repeated item."""
    if each.glob is not None:
        value = render_value(each.glob, scope)
        if isinstance(value, list | tuple):
            return item_texts(value)
        return item_texts(glob_paths(format_word(value), directory))
    return None if each.items is None else item_texts(render_value(each.items, scope))


def item_texts(items: list[Any] | tuple[Any, ...]) -> list[str]:
    """Return items as JSON texts. Raise BadValue for a repeated item: the outcomes of the two could not be told
    apart."""
    found = [item_text(item) for item in items]
    double = first_duplicate(found)
    if double is not None:
        raise BadValue(
            f"the item {show_json_bytes(double):.200} is there twice", hint="each item of a fan-out is there once"
        )
    return found
