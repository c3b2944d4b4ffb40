"""Every error that rekindle raises on purpose.

RekindleError                   what is wrong, about what, and what to do next
├── UsageError                  the request itself is wrong (exit 64)
│   ├── UnknownWord             a state, field, cause or option that does not exist
│   ├── BadSelection            a filter, regex, range or JSON query that cannot be read
│   └── BadValue                a duration, size or number that cannot be read or is out of range
├── SpecError                   a spec file; has every problem with its position
├── NotFound                    a job, workflow, attempt, rerun or signature that does not exist
├── Refused                     a valid request that is not carried out
│   ├── PlanRefused             every job of a rerun was refused
│   ├── PlanOutdated            a saved plan whose jobs have changed since
│   ├── UndoRefused             a job that the rerun reset has started since
│   ├── Superseded              another runner has taken over from this one
│   └── SubmitRefused           a workflow of that name belongs to another folder, or cannot change now
├── IllegalTransition           an event that is not allowed in the state; has the job's history
├── StoreError                  the store
│   ├── StoreVersion            older or newer than this rekindle
│   ├── StoreUnavailable        locked for too long, read-only, full, or on a network file system
│   │   └── StoreUnreachable    its database server does not answer
│   └── StoreDamaged            not a rekindle store, or corrupt
├── SlowPattern                 a regular expression that takes too long
├── JournalError                an unreadable record, other than a truncated last one
└── ExecutorError               attempts cannot be started
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class RekindleError(Exception):
    """What went wrong, about what, and what to do next."""

    exit_code = 1
    document: Mapping[str, object] | None = None
    """What a command prints beside the error where it prints JSON."""

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
    """A word that is not in a closed list of words."""


class BadSelection(UsageError):
    """A selection that cannot be parsed."""


class BadValue(UsageError):
    """A value that cannot be parsed or is out of range."""


class SpecProblem(NamedTuple):
    """A problem in a spec file. `line` and `column` count from 1; 0 means the whole file."""

    line: int
    column: int
    message: str
    hint: str = ""
    file: str = ""  # of a spec of several files; else the error names it

    def render(self, path: str) -> str:
        """Format the problem: `path:line:column: message (hint)`."""
        path = self.file or path
        place = f"{path}:{self.line}:{self.column}" if self.line else path
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class SpecError(RekindleError):
    """All problems of a spec, in file order."""

    def __init__(self, path: str, problems: Sequence[SpecProblem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda one: (one.file, one)))
        super().__init__("\n".join(problem.render(path) for problem in self.problems))


class NotFound(RekindleError):
    """Something named does not exist."""


class Refused(RekindleError):
    """A valid request that is not carried out."""


class RefusedJob(NamedTuple):
    """A selected job that is not rerun."""

    id: int
    name: str
    why: str
    kind: str = ""  # "forbidden": it must not run twice


class PlanRefused(Refused):
    """Every job of a rerun was refused; `refused` has each job with its reason."""

    def __init__(self, message: str, *, hint: str = "", refused: Sequence[RefusedJob] = ()) -> None:
        super().__init__(message, hint=hint)
        self.refused = tuple(refused)


class PlanOutdated(Refused):
    """A saved plan whose jobs have changed since."""


class UndoRefused(Refused):
    """A rerun that can no longer be undone."""


class Superseded(Refused):
    """Another runner has taken over from this one, which must not write any more."""


class SubmitRefused(Refused):
    """A definition that the store does not accept."""


class IllegalTransition(RekindleError):
    """An event that is not allowed in the state. `story` is the job's history."""

    def __init__(self, state: str, event: str, story: str) -> None:
        super().__init__(f"{story}: {event} is not possible in state {state}")
        self.state, self.event, self.story = state, event, story


class StoreError(RekindleError):
    """An error of the store."""


class StoreVersion(StoreError):
    """The store is older or newer than this rekindle."""


class StoreUnavailable(StoreError):
    """The store cannot be used at the moment."""


class StoreUnreachable(StoreUnavailable):
    """The database server of the store does not answer."""


class StoreDamaged(StoreError):
    """Not a rekindle store, or corrupt."""


class SlowPattern(RekindleError):
    """A user's regular expression exceeded its time limit; `pattern` is its text."""

    def __init__(self, pattern: str, seconds: float, doing: str = "one search") -> None:
        self.pattern = pattern
        super().__init__(
            f"the pattern {pattern!r:.200} takes too long: {doing} was stopped after {seconds:g} s",
            hint="make it simpler: no repetition inside a repetition, as in (a+)+; begin it with ^ or with fixed text",
        )


class JournalError(RekindleError):
    """A journal record that cannot be read."""


class ExecutorError(RekindleError):
    """Attempts cannot be started."""


def missing_extra(error: ModuleNotFoundError, what: str, extra: str) -> RekindleError:
    """Return the error for what needs a module of an extra that is not installed."""
    return RekindleError(
        f"{what} needs the Python module {error.name}, which is not installed", hint=f"pip install 'rekindle[{extra}]'"
    )
