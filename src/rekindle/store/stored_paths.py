r"""Stored paths: relative to the store, so that a store and the projects beside it can be moved and copied together.

`@/attempts/0000/00/1` is in the store's folder and `./data/in.csv` in its parent folder; `@` and `.` are these folders
themselves. Other paths stay absolute. A path with bytes that are not UTF-8 is stored as JSON text, `"./caf\udce9"`.
The store's callers see only absolute paths: repositories encode paths when they write and decode them when they read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rekindle.domain.texts.regexes import lazy_regex

_SURROGATE = lazy_regex("[\udc80-\udcff]")
_ESCAPED = lazy_regex(r"\\udc[89a-f][0-9a-f].*\"$")

Text = TypeVar("Text", str, str | None)

Convert = Callable[[str], str]
"""`StoredPaths.encode`, `StoredPaths.decode`, or both in sequence."""


class StoredPaths:
    """Encodes and decodes the paths of one store. `folder` is the store's absolute folder without symbolic links."""

    __slots__ = ("_inside", "_parent", "folder", "parent")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.parent = str(Path(folder).parent)
        self._inside = f"{folder}/"
        self._parent = f"{self.parent.rstrip('/')}/"

    def encode(self, path: Text) -> Text:
        """Return the stored form of a path."""
        if path is None:
            return path
        if "/../" in path or path.endswith("/.."):
            path = os.path.normpath(path)
        return stored_text(self._relative(path))

    def _relative(self, path: str) -> str:
        if path.startswith(self._inside):
            return f"@/{path[len(self._inside) :]}"
        if path.startswith(self._parent):
            return f"./{path[len(self._parent) :]}" if path != self.folder else "@"
        return "." if path == self.parent else path

    def decode(self, text: Text) -> Text:
        """Return the absolute path of a stored one."""
        if text is None:
            return text
        text = path_of(text)
        if text.startswith("./"):
            return f"{self._parent}{text[2:]}"
        if text.startswith("@/"):
            return f"{self._inside}{text[2:]}"
        return self.parent if text == "." else self.folder if text == "@" else text


def stored_text(path: str) -> str:
    """Return a path as text that a database takes: JSON if the path has bytes that are not UTF-8."""
    if path.isascii() or not _SURROGATE.search(path):
        return path
    import json

    return json.dumps(path)


def path_of(text: str) -> str:
    """Return the path that `stored_text` encoded."""
    if not (text.startswith('"') and _ESCAPED.search(text)):
        return text
    import json

    path: str = json.loads(text)
    return path


def moved(before: str, now: str) -> Convert | None:
    """Return a function that converts absolute paths recorded when the store's folder was `before` to its folder `now`;
    None if both are the same."""
    if before == now:
        return None
    old, new = StoredPaths(before), StoredPaths(now)
    return lambda path: new.decode(old.encode(path))
