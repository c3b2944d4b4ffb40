"""Regular expressions that users type: those of Python's `re`, each search within a time limit.

`re` says what a pattern may be; the `regex` library searches, since it can be given a limit.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rekindle.domain.errors import BadSelection, SlowPattern

if TYPE_CHECKING:
    import regex

SECONDS = 1.0
"""Time limit of one search."""

LONGEST_TEXT = 1 << 20
"""Characters of a text that are searched; the rest is ignored."""

LONGEST_PATTERN = 10_000

LONGEST_SHOWN = 80
"""Characters of a pattern that an error shows."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled regular expression."""

    text: str
    _compiled: regex.Pattern[str]

    def found_in(self, text: str, seconds: float = SECONDS) -> bool:
        """Return whether the pattern is found anywhere in the text. Raise SlowPattern if the search takes longer than
        `seconds`."""
        try:
            return self._compiled.search(text[:LONGEST_TEXT], timeout=seconds) is not None
        except (TimeoutError, MemoryError):
            raise SlowPattern(self.text, seconds) from None


@lru_cache(maxsize=64)
def pattern_of(text: str, flags: int = 0) -> Pattern:
    """Compile a regular expression; `flags` are those of `re`. Raise BadSelection, naming the pattern and the position,
    if `re` cannot compile it."""
    import regex  # here, since few commands are given a pattern

    if len(text) > LONGEST_PATTERN:
        raise BadSelection(f"{cut_pattern(text)!r} is too long for a regular expression: {len(text):,} characters")
    with warnings.catch_warnings():
        # `[[` and `[a&&b]` may mean something else in a later Python; no warning for them on the terminal.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            re.compile(text, flags)
            return Pattern(text, regex.compile(_BRACE.sub(_literal, text), flags | regex.V0, cache_pattern=False))
        except (re.error, regex.error, RecursionError, OverflowError) as error:
            raise BadSelection(
                f"{cut_pattern(text)!r} is not a regular expression: {error}",
                hint=r"put \ before ( [ { * + ? . to mean them",
            ) from None


def cut_pattern(text: str) -> str:
    """Return a pattern as errors show it: a long one is cut."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


_BRACE = re.compile(r"\\(?:N\{[^}]*\}|.)|\{(?!\d+(?:,\d*)?\}|,\d*\})", re.DOTALL)
"""A brace that begins no repetition: `re` takes it literally, `regex` might begin an approximate match (`{e<=1}`)."""


def _literal(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("\\") else r"\{"
