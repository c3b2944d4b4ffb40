"""Fingerprints: what an attempt depended on, by typed part, and what a job depends on now.

Most parts need no digest. Which definition, parameters and modifications an attempt ran with follows from its row
(template, revision, binding, overrides); what it consumed of the jobs that it needs is told by their attempts' ids.
Only what lies outside the archive is recorded as it was then: files, environment values, modules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rekindle.domain.states import State

By = Literal["content", "mtime"]
"""How a file is told from another: by what it holds, or by its size and time of modification."""

Named = Literal["", "program", "other", "written"]
"""How a command names a file: "": it is declared instead; a program or source, which always counts; another file, which
counts unless some job writes it; a file that the attempt writes itself, which does not count."""

ABSENT = ""
"""The digest of what is not there."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The files that a pattern matches."""

    pattern: str  # as declared, with its values filled in
    files: Mapping[str, str] | None = None  # digest by path, relative as the pattern is; None: too many to record


@dataclass(frozen=True, slots=True)
class Content:
    """A file or folder that is declared, or a file that a command names, and what it held; where `matched` is set, all
    files that a pattern matches."""

    name: str  # as declared, or the word of the command
    path: str  # absolute
    digest: str  # hexadecimal BLAKE3; "mtime:…" where it is told by that; ABSENT
    by: By = "content"
    named: Named = ""
    matched: Matched | None = None

    @property
    def implicit(self) -> bool:
        """Whether it is not declared, but named in a command."""
        return self.named != ""

    @property
    def compared(self) -> bool:
        """Whether a change of it makes the attempt stale, as far as the attempt itself can say."""
        return self.named != "written"


def is_within(path: str, folders: Collection[str]) -> bool:
    """Whether an absolute path is one of these, or lies inside one of them."""
    while path not in folders:
        outer = path.rpartition("/")[0]
        if not outer:
            return False
        path = outer
    return True


def written_inside(path: str, outputs: Iterable[str]) -> tuple[str, ...]:
    """The outputs of a job that lie inside the folder which is its input: they do not count as that input."""
    return tuple(sorted({one for one in outputs if one.startswith(f"{path}/")}))


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A regular file that was read: a later look that equals this one spares reading it again."""

    path: str  # absolute
    size: int
    mtime_ns: int
    inode: int
    taken_ns: int  # when the reading began, since the epoch
    digest: str
    ctime_ns: int = 0  # 0: recorded before change times were; such a record matches no file


@dataclass(frozen=True, slots=True)
class Prints:
    """What a worker recorded of an attempt (part `files`): inputs before its first step, outputs once it completed."""

    inputs: tuple[Content, ...] = ()
    outputs: tuple[Content, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # name of an outer variable that its texts use -> digest
    unstable: tuple[str, ...] = ()  # names of inputs that looked different when it ended
    made: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)  # by fan-out step over a pattern: the matching
    # paths that appeared or changed (true) or went (false) while the attempt ran; these are not compared


ATTEMPTS_OWN = "attempt"
"""The overrides of a Basis that was accepted before these were recorded: those of the attempt."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What an attempt is measured by. The present one, once accepted, takes the place of its own."""

    template: int
    revision: int
    binding: str  # JSON text
    patched: Mapping[str, Any] = field(default_factory=dict)  # parameters that actions had changed
    needed: Mapping[int, str] = field(default_factory=dict)  # job that it needs -> digest of what that came to
    code: Mapping[str, str] | None = None  # code and environment (see Part); None: none was recorded
    prints: Prints = Prints()
    overrides: str | None = ATTEMPTS_OWN  # JSON text
    items: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by fan-out step over a pattern: the digest
    # of what each path that matches it held


@dataclass(frozen=True, slots=True)
class Subject:
    """An attempt that is measured, beside what its job is now."""

    attempt: int
    state: State
    template: int
    revision: int
    binding: str  # JSON text
    overrides: str | None  # JSON text
    code: str | None  # digest of its code and environment
    folder: str | None  # absolute
    queued: float | None
    job: int
    name: str
    workflow: int
    template_now: int
    binding_now: str
    live: int | None  # the job's live attempt
    pinned_to: int | None  # the attempt whose definition the job's next one takes; None: the latest
    overrides_now: str | None = None  # JSON text: the job's, for its next attempt


@dataclass(frozen=True, slots=True)
class NeededJob:
    """A job that others need, as it stands."""

    job: int
    name: str
    state: State
    attempt: int | None  # live
    template: int
    has_result: bool


METHOD = ":"
ENVIRONMENT = "environment "
WHOLE = "*"
"""Keys of the one mapping that holds the code of an attempt and its environment; equal mappings are stored once.

- `module`: the digest of a module's file, for each module that the functions import, directly or not;
- `module:name`: the digest of the syntax tree of a definition that is reached; `module:` is that of the statements
  that act when the module is imported;
- `module:*`: why a module counts whole, by the digest of its file;
- METHOD: how trees are compared. Where it differs, or was not recorded yet, modules are compared by their files;
- `environment PART NAME`: the interpreter, the version of an installed distribution, or a program's path and digest.
"""


class Part(NamedTuple):
    """A part of the environment: `interpreter`, `distribution` or `program`, and which one."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """The key under which the mapping has it."""
        return f"{ENVIRONMENT}{self.kind} {self.name}"


INTERPRETER = Part("interpreter", "python")


def definition_key(module: str, name: str = "") -> str:
    """Return the key of a definition; without a name, of what the module does on import."""
    return f"{module}:{name}"


def whole_key(module: str) -> str:
    """Return the key that says why a module counts whole."""
    return f"{module}:{WHOLE}"
