"""Fingerprints: what an attempt depended on, by typed part, and what a job depends on now.

Most parts need no digest. Which definition, parameters and modifications an attempt ran with follows from its row
(template, revision, binding, overrides); what it consumed of the jobs that it needs is told by their attempts' ids.
Only what lies outside the archive is recorded as it was then: files, environment values, modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.states import State

By = Literal["content", "mtime"]
"""How a file is told from another: by what it holds, or by its size and time of modification."""

ABSENT = ""
"""The digest of what is not there."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The files that a pattern matches."""

    pattern: str  # as declared, with its values filled in
    files: Mapping[str, str] | None = None  # digest by path, relative as the pattern is; None: too many to record


@dataclass(frozen=True, slots=True)
class Content:
    """A declared file or folder, and what it held; or, where `matched` is set, all files that a pattern matches."""

    name: str  # as declared
    path: str  # absolute
    digest: str  # hexadecimal BLAKE3; "mtime:…" where it is told by that; ABSENT
    by: By = "content"
    matched: Matched | None = None


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


@dataclass(frozen=True, slots=True)
class Basis:
    """What an attempt is measured by. The present one, once accepted, takes the place of its own."""

    template: int
    revision: int
    binding: str  # JSON text
    patched: Mapping[str, Any] = field(default_factory=dict)  # parameters that actions had changed
    needed: Mapping[int, str] = field(default_factory=dict)  # job that it needs -> digest of what that came to
    code: Mapping[str, str] | None = None  # module -> digest; None: it calls no function, or none was recorded
    prints: Prints = Prints()
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
    code: str | None  # digest of the modules that its functions came from
    folder: str | None  # absolute
    queued: float | None
    job: int
    name: str
    workflow: int
    template_now: int
    binding_now: str
    live: int | None  # the job's live attempt
    pinned_to: int | None  # the attempt whose definition the job's next one takes; None: the latest


@dataclass(frozen=True, slots=True)
class NeededJob:
    """A job that others need, as it stands."""

    job: int
    name: str
    state: State
    attempt: int | None  # live
    template: int
    has_result: bool
