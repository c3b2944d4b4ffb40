"""Patterns of paths, read as `glob` of the standard library reads them: `*`, `?` and `[…]` within a name (which do not
match a leading dot), `**` for folders at any depth."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Sequence
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
    fixed = "".join("\0" if part == "**" else f"{_name(part)}/" for part in folders)
    end = f"(?:{_ANY_NAME}/)*{_ANY_NAME}" if last == "**" else _name(last)
    return re.compile(_linear((fixed + end).split("\0"), f"(?:{_ANY_NAME}/)*"), re.DOTALL)


@lru_cache(maxsize=1024)
def name_matcher(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of job names: only `*` and `?` are special."""
    fixed = [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern)]
    return re.compile(_linear(fixed, ".*"), re.DOTALL)


def _linear(fixed: Sequence[str], between: str) -> str:
    """Join expressions by another that matches anything. Each but the last is matched where it is found first and never
    moved, so that matching does not backtrack exponentially."""
    first, *rest = fixed
    if not rest:
        return first
    return first + "".join(f"(?>{between}?{part})" for part in rest[:-1]) + between + rest[-1]


_ANY_NAME = r"(?!\.)[^/]+"
_CLASS = re.compile(r"(\[!?\]?[^\]]*\])")


def _name(part: str) -> str:
    """The regular expression of a name."""
    fixed = ["" if part.startswith(".") else r"(?!\.)"]
    for piece in _CLASS.split(part):
        if _CLASS.fullmatch(piece):
            fixed[-1] += fnmatch.translate(piece).removesuffix(r"\Z")
        else:
            first, *rest = (re.escape(text).replace(r"\?", "[^/]") for text in re.split(r"\*+", piece))
            fixed[-1] += first
            fixed += rest
    return _linear(fixed, "[^/]*")
