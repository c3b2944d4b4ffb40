"""Regular expressions that are compiled when they are first used: a module with many of them imports quickly."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Regex:
    def __init__(self, pattern: Any, flags: int) -> None:
        self._source: tuple[Any, int] = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(re.compile(*self._source), name)
        return found


def lazy_regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern as `re.compile` does, but compile it when it is first used. re.error is raised then, too."""
    return cast("re.Pattern[AnyStr]", _Regex(pattern, flags))
