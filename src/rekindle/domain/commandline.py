"""What a step's `run:` becomes: the argument vector of a program, with a shell only where one is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rekindle.domain.substitution import Reference, parse, render


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A compiled `run:`. `references` are those of its text, in order."""

    needs_shell: bool
    references: tuple[Reference, ...]
    _run: tuple[str, ...]

    def argv(self, scope: Mapping[str, Any]) -> list[str]:
        """The argument vector for these values (`scope` as in `substitution.lookup`).

        Raises UnknownWord for a value that is not there, BadValue for one that may not stand where it is used.
        """
        return [render(item, scope) for item in self._run]


@lru_cache(maxsize=8192)
def compile_command(run: str | tuple[str, ...], shell: str | None) -> CommandLine:
    """A list is the argument vector; a text means what `/bin/sh`, or `shell`, would make of it.

    Raises BadValue for an empty command or unbalanced quotes, UnknownWord for an unknown `${dotted.name}`.
    """
    items = (run,) if isinstance(run, str) else run
    found = tuple(piece for item in items for piece in parse(item) if isinstance(piece, Reference))
    if isinstance(run, str):
        return CommandLine(True, found, (shell or "/bin/sh", "-c", run))
    return CommandLine(False, found, run)
