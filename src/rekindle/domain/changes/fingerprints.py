"""Fingerprints: what an attempt depended on, by typed part, and what its job depends on now.

Most parts need no digest. The definition, parameters and overrides of an attempt follow from its row (template,
revision, binding, overrides); the results it used follow from the ids of the attempts it needed. Only the state outside
the store is recorded: files, environment values, modules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from rekindle.domain.states import State
from rekindle.domain.texts.patterns import glob_base, glob_reaches, split_glob

ComparedBy = Literal["content", "mtime"]
"""How files are compared: by content, or by size and modification time."""


CommandRole = Literal["", "program", "other", "written", "made"]
"""How a command names a file: "": the file is declared instead; "program": a program or source, which always counts;
"other": a file that counts unless some job writes it; "written": written by the attempt itself, which does not count;
"made": the same with what the attempt left there, which counts where an earlier attempt is to complete a job.
"""


ABSENT = ""
"""The digest of a missing file."""


class MatchedFiles(msgspec.Struct, frozen=True):
    """The files that a pattern matches."""

    pattern: str  # as declared, with its values substituted
    files: Mapping[str, str] | None = None  # digest by path, relative like the pattern; None: too many to record


class FileContent(msgspec.Struct, frozen=True):
    """A declared file or folder, or a file named in a command, with its content digest; with `matched`, all files that
    a pattern matches."""

    name: str  # as declared, or the word in the command
    path: str  # absolute
    digest: str  # hexadecimal BLAKE3; "mtime:…" if compared by mtime; ABSENT
    by: ComparedBy = "content"
    named: CommandRole = ""
    matched: MatchedFiles | None = None

    @property
    def implicit(self) -> bool:
        """Whether the file is named in a command, not declared."""
        return self.named != ""

    @property
    def compared(self) -> bool:
        """Whether a change of the file can make the attempt stale."""
        return self.named not in ("written", "made")

    def covers(self, path: str) -> bool:
        """Return whether an absolute path is this file, lies within this folder, or is matched by this pattern."""
        if self.matched is None:
            return path == self.path or path.startswith(f"{self.path}/")
        base = glob_base(self.path, self.matched.pattern)
        inside = path.removeprefix(f"{base.rstrip('/')}/")
        return inside != path and glob_reaches(split_glob(self.matched.pattern)[1], inside)


def is_within(path: str, folders: Collection[str]) -> bool:
    """Return whether an absolute path is one of `folders` or inside one of them."""
    while path not in folders:
        outer = path.rpartition("/")[0]
        if not outer:
            return False
        path = outer
    return True


def written_inside(path: str, outputs: Iterable[str]) -> tuple[str, ...]:
    """Return a job's outputs inside its input folder `path`; they do not count as part of that input."""
    return tuple(sorted({one for one in outputs if one.startswith(f"{path}/")}))


class FileRecord(msgspec.Struct, frozen=True):
    """A digested regular file. If its metadata is unchanged later, the digest is reused."""

    path: str  # absolute
    size: int
    mtime_ns: int
    inode: int
    taken_ns: int  # when reading began, since the epoch
    digest: str
    ctime_ns: int = 0  # 0: an old record without change time, which matches no file


class FileFingerprints(msgspec.Struct, frozen=True):
    """The files and variables that a worker recorded: inputs before the first step, outputs after completion."""

    inputs: tuple[FileContent, ...] = ()
    outputs: tuple[FileContent, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)  # digest by name of the outer variables used
    unstable: tuple[str, ...] = ()  # names of inputs that changed while the attempt ran
    made: Mapping[str, Mapping[str, bool]] = msgspec.field(
        default_factory=dict
    )  # by fan-out step over a pattern: matching

    # paths that appeared or changed (true) or disappeared (false) while the attempt ran; these are not compared
    folders: tuple[str, ...] = ()  # names of outputs that were folders before the first step; not compared


ATTEMPTS_OWN = "attempt"
"""The overrides of a Baseline accepted before overrides were recorded: those of the attempt."""


class Baseline(msgspec.Struct, frozen=True):
    """The state that an attempt is compared with. Accepting a stale job replaces it by the present state."""

    template: int
    revision: int
    binding: str  # JSON text
    patched: Mapping[str, Any] = msgspec.field(default_factory=dict)  # parameters changed by dynamic actions
    needed: Mapping[int, str] = msgspec.field(default_factory=dict)  # needed job -> digest of its result
    code: Mapping[str, str] | None = None  # code and environment (see EnvironmentPart); None: not recorded
    prints: FileFingerprints = FileFingerprints()
    overrides: str | None = ATTEMPTS_OWN  # JSON text
    items: Mapping[str, Mapping[str, str]] = msgspec.field(
        default_factory=dict
    )  # by fan-out step over a pattern: the digest

    # of what each path that matches it held


class MeasuredAttempt(msgspec.Struct, frozen=True):
    """An attempt to compare, with the current values of its job."""

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
    pinned_to: int | None  # the attempt whose definition the job's next one uses; None: the latest
    overrides_now: str | None = None  # JSON text: the job's overrides for its next attempt
    made_in: int = 0  # the attempt's workflow: another one if the attempt may complete the job
    builds_on: int | None = None  # the attempt whose steps or subtasks it keeps


class NeededJob(msgspec.Struct, frozen=True):
    """A job that others need, in its current state."""

    job: int
    name: str
    state: State
    attempt: int | None  # live
    template: int
    has_result: bool


METHOD = ":"


ENVIRONMENT = "environment "


WHOLE = "*"
"""Keys of the mapping that holds an attempt's code and environment; equal mappings are stored once.

- `module`: the digest of a module's file, for each module that the functions import, directly or not.
- `module:name`: the digest of the syntax tree of a reachable definition; `module:` is that of the statements with side
  effects on import.
- `module:*`: why the whole module counts, by the digest of its file.
- METHOD: how syntax trees are compared. If it differs or was not recorded, modules are compared by their files.
- `environment PART NAME`: the interpreter, the version of an installed distribution, or a program's path and digest."""


class EnvironmentPart(NamedTuple):
    """A part of the environment: `interpreter`, `distribution` or `program`, and its name."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """The key of the part in the mapping."""
        return f"{ENVIRONMENT}{self.kind} {self.name}"


INTERPRETER = EnvironmentPart("interpreter", "python")


def definition_key(module: str, name: str = "") -> str:
    """Return the key of a definition; without a name, of the module's statements on import."""
    return f"{module}:{name}"


def whole_key(module: str) -> str:
    """Return the key that says why the whole module counts."""
    return f"{module}:{WHOLE}"
