"""Find the files of a project that commands name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable
from typing import NamedTuple

from rekindle.domain.changes.prints import Named
from rekindle.domain.texts.globs import base, location
from rekindle.domain.texts.namedfiles import NamedFile, is_source

_STORE = "/.rekindle/"
_WILD = re.compile(r"[*?]|\[[^\]]+\]")


class Located(NamedTuple):
    """A file of a project that a command names, or the place of one that it would read if it were there. `fixed`: the
    attempt itself does not write it, so that another content afterwards is somebody's change."""

    name: str
    path: str  # absolute
    named: Named
    there: bool
    fixed: bool
    pattern: str | None = None  # the word is a pattern, and `path` its location: see domain.texts.globs


def locate(
    named: Iterable[NamedFile], directory: str, project: str, declared: Collection[str] = ()
) -> tuple[Located, ...]:
    """Return the files that commands in the folder `directory` name, in order, none twice: regular files within the
    folder `project`, and patterns whose literal folder is there; without those that are declared, or lie in a folder
    that is (`declared`: absolute paths), and without the store's and those in an attempt's own folder."""
    inside = project.rstrip("/") + "/"
    own = "" if directory == project else directory.rstrip("/") + "/"
    found: dict[str, Located] = {}
    for one in named:
        place = _place(one, directory, inside, own)
        if (place is None or not place[1]) and (pattern := _pattern(one, directory, inside, own)) is not None:
            if not (declared and _is_declared(base(*pattern), declared)) and pattern[0] not in declared:
                found[pattern[0]] = Located(one.word, pattern[0], "other", True, False, pattern[1])
            continue
        if place is None:
            continue
        path, there = place
        if declared and _is_declared(path, declared):
            continue
        role: Named = "program" if one.role == "source" else one.role
        fixed = one.role == "program" and (one.first or is_source(one.paths[0]))
        known = found.get(path)
        if known is None:
            found[path] = Located(one.word, path, role, there, fixed)
        else:
            found[path] = known._replace(named=max(known.named, role, key=_RANKS.index), fixed=known.fixed and fixed)
    return tuple(found.values())


_RANKS: tuple[Named, ...] = ("", "other", "program", "written")


def _place(one: NamedFile, directory: str, inside: str, own: str) -> tuple[str, bool] | None:
    """Where the file is, and whether it is there; None: nowhere that counts."""
    first = None
    for path in one.paths:
        full = os.path.normpath(os.path.join(directory, path))
        if not full.startswith(inside) or _STORE in full[len(inside) - 1 :] or (own and full.startswith(own)):
            continue
        try:
            if stat.S_ISREG(os.stat(full).st_mode):
                return full, True
        except (OSError, ValueError):
            first = first or full
    if first is None or not (one.awaited or one.role == "written"):
        return None
    return first, False


def _pattern(one: NamedFile, directory: str, inside: str, own: str) -> tuple[str, str] | None:
    """The location and the text of a pattern whose literal folder is there; None: the word is none."""
    if one.role not in ("source", "other") or not _WILD.search(one.word):
        return None
    for path in one.paths:
        place = location(directory, path)
        folder = base(place, path) + "/"
        counts = folder.startswith(inside) and _STORE not in folder and not (own and folder.startswith(own))
        if counts and os.path.isdir(folder):
            return place, path
    return None


def _is_declared(path: str, declared: Collection[str]) -> bool:
    return path in declared or any(path.startswith(one + "/") for one in declared)
