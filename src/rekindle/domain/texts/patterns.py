"""Regular expressions that users type."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from rekindle.domain.errors import BadSelection


@lru_cache(maxsize=64)
def pattern_of(text: str, flags: int = 0) -> re.Pattern[str]:
    """A regular expression, compiled once; `flags` are those of `re`. BadSelection names one that cannot be read."""
    with warnings.catch_warnings():
        # What Python may read otherwise one day (`[[`) is read as it is today, without a word on the terminal.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return re.compile(text, flags)
        except re.error as error:
            raise BadSelection(
                f"{text!r} is not a regular expression: {error}", hint=r"put \ before ( [ { * + ? . to mean them"
            ) from None
