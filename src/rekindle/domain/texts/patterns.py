"""Patterns that users type: regular expressions with a time limit, and globs of paths and names.

Regular expressions have the syntax of Python's `re`. The `regex` library searches them, since it supports a time limit.
Globs of paths have the syntax of the standard library's `glob`: `*`, `?` and `[…]` within a name (not matching a
leading dot), `**` for folders at any depth."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rekindle.domain.errors import BadSelection, SlowPattern
from rekindle.domain.texts.regexes import lazy_regex

if TYPE_CHECKING:
    import regex

SEARCH_SECONDS = 1.0
"""Time limit of one search."""


SHORT_TEXT = 1_000
"""The most characters of a text in which a simple pattern is searched without a time limit, which takes ten times as
long as the search itself."""


LONGEST_TEXT = 1 << 20
"""Characters of a text that are searched; the rest is ignored."""


LONGEST_PATTERN = 10_000


LONGEST_SHOWN = 80
"""Characters of a pattern that an error shows."""


class Pattern(NamedTuple):
    """A compiled regular expression."""

    text: str
    compiled: regex.Pattern[str]
    simple: bool = False  # at most one repetition: a search takes at most the square of a text's length

    def found_in(self, text: str, seconds: float = SEARCH_SECONDS) -> bool:
        """Return whether the pattern is found anywhere in the text. Raise SlowPattern if the search takes longer than
        `seconds`."""
        if self.simple and len(text) <= SHORT_TEXT:
            return self.compiled.search(text) is not None
        try:
            return self.compiled.search(text[:LONGEST_TEXT], timeout=seconds) is not None
        except (TimeoutError, MemoryError):
            raise SlowPattern(self.text, seconds) from None

    def spans_in(self, text: str, seconds: float = SEARCH_SECONDS) -> Iterator[tuple[int, int]]:
        """Yield where the pattern is found: (first character, character after it). Raise SlowPattern as `found_in`."""
        try:
            for found in self.compiled.finditer(text, timeout=seconds, concurrent=True):
                yield found.span()
        except (TimeoutError, MemoryError):
            raise SlowPattern(self.text, seconds) from None


@lru_cache(maxsize=64)
def compile_pattern(text: str, flags: int = 0) -> Pattern:
    """Compile a regular expression; `flags` are those of `re`. Raise BadSelection, with the pattern and the position,
    if `re` cannot compile it."""
    import regex  # imported late: few commands use patterns

    if len(text) > LONGEST_PATTERN:
        raise BadSelection(f"{cut_pattern(text)!r} is too long for a regular expression: {len(text):,} characters")
    with warnings.catch_warnings():
        # `[[` and `[a&&b]` may mean something else in a later Python; no warning for them on the terminal.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            re.compile(text, flags)
            compiled = regex.compile(_BRACE.sub(_escape_brace, text), flags | regex.V0, cache_pattern=False)
            return Pattern(text, compiled, _is_simple(text))
        except (re.error, regex.error, RecursionError, OverflowError) as error:
            raise BadSelection(
                f"{cut_pattern(text)!r} is not a regular expression: {error}",
                hint=r"put \ before ( [ { * + ? . to mean them",
            ) from None


def _is_simple(text: str) -> bool:
    """Return whether a pattern has at most one repetition and no group, which could repeat or be referred to."""
    return sum(map(text.count, "*+?{")) <= 1 and "(" not in text


def cut_pattern(text: str) -> str:
    """Return a pattern as errors show it: a long one is cut."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


_BRACE = lazy_regex(r"\\(?:N\{[^}]*\}|.)|\{(?!\d+(?:,\d*)?\}|,\d*\})", re.DOTALL)
"""A brace that begins no repetition. It is literal in `re`, but could begin an approximate match in `regex` (`{e<=1}`).
"""


def _escape_brace(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("\\") else r"\{"


_MAGIC = lazy_regex(r"[*?\[]")


def is_glob(text: str) -> bool:
    """Return whether a path contains glob characters."""
    return _MAGIC.search(text) is not None


def split_glob(text: str) -> tuple[str, str]:
    """Split a pattern into its leading literal folders, with the slash, and the rest."""
    first = _MAGIC.search(text)
    end = text.rfind("/", 0, first.start() if first else len(text)) + 1
    return text[:end], text[end:]


def glob_location(directory: str, text: str) -> str:
    """Return the absolute path of a pattern; only its literal folders are normalized."""
    head, rest = split_glob(text)
    return posixpath.join(posixpath.normpath(posixpath.join(directory, head)), rest)


def glob_base(path: str, text: str) -> str:
    """Return the literal folder of the pattern `text`, whose location is `path`."""
    return path[: len(path) - len(split_glob(text)[1])].rstrip("/") or "/"


def glob_reaches(rest: str, relative: str) -> bool:
    """Return whether the rest of a pattern matches a relative path or a folder around it, or may match something inside
    the path if that is a folder."""
    matches, parts = compile_glob(rest).fullmatch, relative.split("/")
    if any(matches("/".join(parts[:count])) for count in range(1, len(parts) + 1)):
        return True
    names = rest.split("/")
    return any(compile_glob("/".join(names[:count])).fullmatch(relative) for count in range(1, len(names)))


@lru_cache(maxsize=1024)
def compile_glob(rest: str) -> re.Pattern[str]:
    """Compile the rest of a pattern, for paths relative to its literal folders."""
    *folders, last = rest.split("/")
    fixed = "".join("\0" if part == "**" else f"{_compile_name(part)}/" for part in folders)
    end = f"(?:{_ANY_NAME}/)*{_ANY_NAME}" if last == "**" else _compile_name(last)
    return re.compile(_join_linear((fixed + end).split("\0"), f"(?:{_ANY_NAME}/)*"), re.DOTALL)


@lru_cache(maxsize=1024)
def compile_name_glob(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of job names: only `*` and `?` are special."""
    fixed = [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern)]
    return re.compile(_join_linear(fixed, ".*"), re.DOTALL)


def _join_linear(fixed: Sequence[str], between: str) -> str:
    """Join expressions by one that matches anything. Each but the last is matched at its first place and never moved,
    so that matching does not backtrack exponentially."""
    first, *rest = fixed
    if not rest:
        return first
    return first + "".join(f"(?>{between}?{part})" for part in rest[:-1]) + between + rest[-1]


_ANY_NAME = r"(?!\.)[^/]+"


_CLASS = lazy_regex(r"(\[!?\]?[^\]]*\])")


def _compile_name(part: str) -> str:
    """The regular expression of a name."""
    fixed = ["" if part.startswith(".") else r"(?!\.)"]
    for piece in _CLASS.split(part):
        if _CLASS.fullmatch(piece):
            fixed[-1] += fnmatch.translate(piece).removesuffix(r"\Z")
        else:
            first, *rest = (re.escape(text).replace(r"\?", "[^/]") for text in re.split(r"\*+", piece))
            fixed[-1] += first
            fixed += rest
    return _join_linear(fixed, "[^/]*")
