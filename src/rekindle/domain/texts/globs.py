"""Patterns of paths, read as `glob` of the standard library reads them: `*`, `?` and `[…]` within a name (which do not
match a leading dot), `**` for folders at any depth."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from functools import lru_cache

_MAGIC = re.compile(r"[*?\[]")


def is_pattern(text: str) -> bool:
    """Return whether a path may be a pattern."""
    return _MAGIC.search(text) is not None


def split(text: str) -> tuple[str, str]:
    """Return the literal folders at the beginning of a pattern, with the slash, and the rest."""
    first = _MAGIC.search(text)
    end = text.rfind("/", 0, first.start() if first else len(text)) + 1
    return text[:end], text[end:]


def location(directory: str, text: str) -> str:
    """Return the absolute path of a pattern; only its literal folders are normalized."""
    head, rest = split(text)
    return posixpath.join(posixpath.normpath(posixpath.join(directory, head)), rest)


def base(path: str, text: str) -> str:
    """Return the literal folder of the pattern `text`, whose location is `path`."""
    return path[: len(path) - len(split(text)[1])].rstrip("/") or "/"


def reaches(rest: str, relative: str) -> bool:
    """Return whether the part of a pattern behind its literal folders matches a relative path or a folder around it, or
    may match something inside the path, should that be a folder."""
    matches, parts = matcher(rest).fullmatch, relative.split("/")
    if any(matches("/".join(parts[:count])) for count in range(1, len(parts) + 1)):
        return True
    names = rest.split("/")
    return any(matcher("/".join(names[:count])).fullmatch(relative) for count in range(1, len(names)))


@lru_cache(maxsize=1024)
def matcher(rest: str) -> re.Pattern[str]:
    """Compile the part of a pattern behind its literal folders, for paths relative to these."""
    *folders, last = rest.split("/")
    pieces = [f"(?:{_ANY_NAME}/)*" if part == "**" else f"{_name(part)}/" for part in folders]
    pieces.append(f"(?:{_ANY_NAME}/)*{_ANY_NAME}" if last == "**" else _name(last))
    return re.compile("".join(pieces), re.DOTALL)


_ANY_NAME = r"(?!\.)[^/]+"
_CLASS = re.compile(r"(\[!?\]?[^\]]*\])")


def _name(part: str) -> str:
    """The regular expression of a name."""
    wild = {"*": "[^/]*", "?": "[^/]"}
    pieces = ["" if part.startswith(".") else r"(?!\.)"]
    for piece in _CLASS.split(part):
        if _CLASS.fullmatch(piece):
            pieces.append(fnmatch.translate(piece).removesuffix(r"\Z"))
        else:
            pieces += [wild.get(character) or re.escape(character) for character in piece]
    return "".join(pieces)
