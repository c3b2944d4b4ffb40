"""Every error that rekindle raises on purpose.

RekindleError                   what is wrong, about what, and what to do next
├── UsageError                  the request itself is wrong (exit 64)
│   ├── UnknownWord             a state, field, cause or option nobody knows
│   ├── BadSelection            a filter, regex, range or JSON query that cannot be read
│   └── BadValue                a duration, size or number that cannot be read or is out of range
├── SpecError                   a spec file; carries every problem with its place
├── NotFound                    a job, workflow, attempt, rerun or signature that is named and is not there
├── Refused                     understood, and not done
│   ├── PlanRefused             every job of a rerun was refused
│   ├── PlanOutdated            a saved plan whose jobs have moved since
│   ├── UndoRefused             what the rerun reset has started since
│   ├── Superseded              a runner that another has taken over from
│   └── SubmitRefused           a workflow of that name belongs to another folder, or cannot change now
├── IllegalTransition           an event that the state does not know; carries the job's story
├── StoreError                  the archive
│   ├── StoreVersion            older or newer than this rekindle
│   ├── StoreUnavailable        locked for too long, read-only, full, or on a network file system
│   └── StoreDamaged            not a rekindle store, or corrupt
├── SlowPattern                 a regular expression that takes too long on some text
├── JournalError                a record that cannot be read, beyond a torn end
└── ExecutorError               attempts cannot be placed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekindle.domain.rerunning.rerun import RefusedJob


class RekindleError(Exception):
    """What went wrong, about what, and what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(RekindleError):
    """The request itself is wrong."""

    exit_code = 64


class UnknownWord(UsageError):
    """A word from a closed list that is not in the list."""


class BadSelection(UsageError):
    """A selection that cannot be read."""


class BadValue(UsageError):
    """A value that cannot be read or is out of range."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a spec file. `line` and `column` count from 1; 0 means the whole file."""

    line: int
    column: int
    message: str
    hint: str = ""

    def render(self, path: str) -> str:
        """`path:line:column: message (hint)`."""
        place = f"{path}:{self.line}:{self.column}" if self.line else path
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class SpecError(RekindleError):
    """Everything that is wrong with a spec, in the order of the file."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(problem.render(path) for problem in self.problems))


class NotFound(RekindleError):
    """Something that was named and is not there."""


class Refused(RekindleError):
    """Understood, and not done."""


class PlanRefused(Refused):
    """Every job of a rerun was refused; `refused` has each with its reason."""

    def __init__(self, message: str, *, hint: str = "", refused: Sequence[RefusedJob] = ()) -> None:
        super().__init__(message, hint=hint)
        self.refused = tuple(refused)


class PlanOutdated(Refused):
    """A saved plan whose jobs have moved since."""


class UndoRefused(Refused):
    """A rerun that cannot be undone any more."""


class Superseded(Refused):
    """A runner was taken for dead, and another sees to what it left: it must not write any more."""


class SubmitRefused(Refused):
    """A definition that the store does not take."""


class IllegalTransition(RekindleError):
    """An event that the state does not know. `story` tells what led here."""

    def __init__(self, state: str, event: str, story: str) -> None:
        super().__init__(f"{story}: {event} is not possible in state {state}")
        self.state, self.event, self.story = state, event, story


class StoreError(RekindleError):
    """Something is wrong with the store."""


class StoreVersion(StoreError):
    """A store that is older or newer than this rekindle."""


class StoreUnavailable(StoreError):
    """A store that cannot be used now."""


class StoreDamaged(StoreError):
    """Not a rekindle store, or corrupt."""


class SlowPattern(RekindleError):
    """A user's regular expression took longer than its time limit; `pattern` is its text."""

    def __init__(self, pattern: str, seconds: float, doing: str = "one search") -> None:
        self.pattern = pattern
        super().__init__(
            f"the pattern {pattern!r:.200} takes too long: {doing} was stopped after {seconds:g} s",
            hint="make it simpler: no repetition inside a repetition, as in (a+)+; begin it with ^ or with fixed text",
        )


class JournalError(RekindleError):
    """A journal record that cannot be read."""


class ExecutorError(RekindleError):
    """Attempts cannot be placed."""
