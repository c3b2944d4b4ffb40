"""Failure signatures: group failures that differ only in seeds, paths, times and addresses.

A signature consists of the cause, the exception type, the normalized message and the innermost frames (file and
function, without line numbers, so that an edit further up does not split a group). The message of a command is its last
line on stderr, without the notes that runtimes append; a Python traceback there is parsed as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.models import Failure, Signature
from rekindle.domain.texts.regexes import lazy_regex

if TYPE_CHECKING:
    from rekindle.domain.states import Cause

_FRAMES = 3
_MESSAGE = 240  # characters kept of a normalised message
_LINE = 2_000  # characters looked at of a line
_TAIL = 32_000  # characters looked at of a stderr or traceback
_AFTER_TRACEBACK = 30  # lines that may follow the traceback that ended a command: its message goes on, a wrapper adds
_CAUSES_WITH_STDERR = frozenset({"exit", "signal"})


def signature(cause: str, type: str, message: str, traceback: str, stderr: str) -> Signature:  # noqa: A002
    """Return the signature of a failed attempt.

    `cause` is a value of Cause; `type`, `message` and `traceback` belong to the exception, or are rekindle's
    description of a failed command; `stderr` is the end of its stderr. Any of them may be "" or malformed."""
    from hashlib import blake2b  # loads OpenSSL

    parsed = _parse(cause, type, message, traceback, stderr)
    shown = normalize_message(parsed.message)
    # Different signals are different failures, even if the last lines, written before, are equal.
    signal = normalize_message(message) if cause == "signal" else ""
    parts = (cause, parsed.type, shown, signal, *parsed.frames)
    digest = blake2b("\0".join(parts).encode(errors="backslashreplace"), digest_size=6).hexdigest()
    return Signature(digest, parsed.type, shown)


def failure_signature(cause: Cause | None, failure: Failure | None) -> Signature:
    """Return the signature of a failed attempt, from its cause and error texts."""
    texts = failure or Failure()
    return signature(cause or "", texts.type, texts.message, texts.traceback, texts.stderr)


def headline(cause: str, type: str, message: str, traceback: str, stderr: str) -> tuple[str, str]:  # noqa: A002
    """Return the type and message that a signature is made from, in one line, not normalized. Takes the arguments of
    `signature`."""
    parsed = _parse(cause, type, message, traceback, stderr)
    line = next(iter(_lines(parsed.message[:_TAIL])), "").strip()
    return parsed.type, line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…"


def _parse(cause: str, type: str, message: str, traceback: str, stderr: str) -> _ParsedFailure:  # noqa: A002
    if cause in _CAUSES_WITH_STDERR and not traceback.strip():
        return _parse_stderr(_lines(stderr)) or _ParsedFailure(type, message, ())
    return _ParsedFailure(type, message, _innermost_frames(_lines(traceback)))


def normalize_message(text: str) -> str:
    """Return the first line with words, with the varying parts replaced.

    Numbers with units, times, addresses and random names become `#`, paths their last part, quoted phrases `…`. Quoted
    names stay, and so do numbers that identify the error: `[Errno 2]`, `exit code 3`, `HTTP 404`."""
    line = next(iter(_lines(text[:_TAIL])), "")
    line = _QUOTED_PATH.sub(lambda found: found[1] + _base_name(found[2]) + found[3], " ".join(line.split()))
    line = _PATH.sub(_shortened_path, line)
    line = _VARYING.sub(lambda found: found["kept"] or (f"tmp{_ANY}" if found["temporary"] else _ANY), line)
    line = _LISTED.sub(_ANY, _MEASURED.sub(_ANY, line))
    line = _HOSTS.sub(rf"{_ANY}: task {_ANY}", _EVENTS.sub(r"\1", line))
    line = _QUOTED.sub(_shortened_quote, line)
    return line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…"


_ANY = "#"
_CONTROL = lazy_regex(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GROUP_RULE = lazy_regex(r"^ *[|+] ?")
_FRAME = lazy_regex(r"""^\s+File "(?P<file>[^"]*)", line \d+(?:, in (?P<function>\S+))?\s*$""")
_RAISED = lazy_regex(r"(?P<type>(?:[^\W\d]\w*\.)*[^\W\d]\w*)(?::\s*(?P<message>.*))?")
_RAISED_ALONE = lazy_regex(r"(?P<type>(?:[^\W\d]\w*\.)*\w*(?:Error|Exception|Interrupt|Exit))(?::\s*(?P<message>.*))?")

_NAMED = r"(?:[\w.+@%~-]|\[[\w.=,+-]*\])+"
_PATH = lazy_regex(
    rf"[A-Za-z][\w+.-]*://[^\s'\"<>]*|(?<![\w/])(?:{_NAMED}(?:[=,]{_NAMED})*)?(?:/{_NAMED}(?:[=,]{_NAMED})*)+/?"
)
_QUOTED_PATH = lazy_regex(r"(['\"`\u2018\u201c])((?:~|\.{1,2})?/[^'\"`\u2019\u201d]*)(['\"`\u2019\u201d])")
_EXTENSION = lazy_regex(r"\.[A-Za-z]\w{0,7}\.?$")
_VARYING = lazy_regex(
    r"""
      (?P<kept>(?i:\b
          (?: errno | (?:exit|status|error|return)[ ]?(?:code|status) | exit(?:ed)?(?:[ ]with)? | status | signal
            | HTTP(?:[ ]Error)? )
          [ :=]{0,2}\d+\b) | (?<=\][ ])Error[ ]\d+$)
    | (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[ ]\d{1,2}[ ]\d\d:\d\d:\d\d
    | \d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?
    | (?:\b\d+[ ]days?,[ ])?\d+:\d\d:\d\d(?:[.,]\d+)?
    | (?<![\w:])(?=[0-9a-fA-F:]*\d)[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){3,7}(?![\w:])
    | (?<![\w:])(?=[a-fA-F:]*\d)[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,6}::
        (?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,6})?(?![\w:])
    | (?<=StepId=)\d[\w.+]*\b
    | (?<=\.nfs)[0-9a-fA-F]{16,}
    | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
    | 0x[0-9a-fA-F]+
    | (?<![A-Za-z0-9])(?P<temporary>tmp[._-]?[A-Za-z0-9_]{6,12})(?![A-Za-z0-9_])
    | (?<![A-Za-z0-9])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(?![A-Za-z0-9])
    | (?<![A-Za-z0-9])(?=[A-F]*\d)(?=\d*[A-F])[0-9A-F]{8,}(?![A-Za-z0-9])
    | (?:(?<!\w)[-+])?\d+(?:[._]\d+)*(?:[eE][-+]?\d+)?
    """,
    re.VERBOSE,
)
_MEASURED = lazy_regex(rf"{_ANY}(?:[ ]?(?:[kKMGTP]i?B|[Bb]ytes)|(?:ms|us|ns|s|min|m|h|d)(?={_ANY}|\b))")
_LISTED = lazy_regex(rf"{_ANY}(?:(?:,[ ]?|[ -])?{_ANY})+")
_EVENTS = lazy_regex(r"\b(oom_kill event)s\b")
_HOSTS = lazy_regex(rf"(?:{_ANY}|\[{_ANY}\]): tasks? {_ANY}")
_QUOTED = lazy_regex(
    r"(?<!\w)(?:'([^']*)'|\"([^\"]*)\"|`([^`]*)`)(?!\w)|\u2018([^\u2019]*)\u2019|\u201c([^\u201d]*)\u201d"
)
_NAME = lazy_regex(r"[\w.#:/@<>\[\]=,+-]*")


_RUNTIME_NOTES = lazy_regex(
    r"""
      note:[ ](?:run[ ]with[ ]`RUST_BACKTRACE|Some[ ]details[ ]are[ ]omitted)
    | \s+at[ ].*\)$ | \s+\.\.\.[ ]\d+[ ](?:more|common)
    | [= ]*(?:\d+[ ](?:failed|passed|error|errors|skipped|warnings?|xfailed|xpassed|deselected)(?:,[ ]|[ ]))+in[ ]
    | NOTE:[ ]invoking[ ]MPI_ABORT | You[ ]may[ ]or[ ]may[ ]not[ ]see[ ]output | exactly[ ]when[ ]Open[ ]MPI
    """,
    re.VERBOSE,
)
"""Lines that runtimes append to an error: Java frames, Rust hints, pytest summaries, Open MPI notes."""


class _ParsedFailure(msgspec.Struct, frozen=True):
    """The parsed type, message and frames of a failure."""

    type: str
    message: str
    frames: tuple[str, ...]


def _parse_stderr(lines: Sequence[str]) -> _ParsedFailure | None:
    """Parse a command's stderr: its last traceback, otherwise its last line; None if it is empty."""
    if not lines:
        return None
    return _parse_traceback(lines) or _parse_line(
        next((line for line in reversed(lines) if not _RUNTIME_NOTES.match(line)), lines[-1])
    )


def _parse_traceback(lines: Sequence[str]) -> _ParsedFailure | None:
    """Parse the Python traceback at the end of the lines, or return None."""
    last = next((at for at in range(len(lines) - 1, -1, -1) if _FRAME.match(lines[at])), None)
    if last is None:
        return None
    raised = next((at for at in range(last + 1, len(lines)) if not lines[at][0].isspace()), None)
    if raised is None or len(lines) - raised > _AFTER_TRACEBACK:
        return None
    found = _RAISED.fullmatch(lines[raised].rstrip())
    if found is None:
        return None
    message = found["message"] or ""
    if found["message"] == "" and raised + 1 < len(lines):
        message = lines[raised + 1]  # a message that begins with a line break
    return _ParsedFailure(found["type"], message, _innermost_frames(lines[:raised]))


def _parse_line(line: str) -> _ParsedFailure:
    """Parse a last line on its own; it may still be an exception's."""
    found = _RAISED_ALONE.fullmatch(line.strip())
    return _ParsedFailure(found["type"], found["message"] or "", ()) if found else _ParsedFailure("", line, ())


def _innermost_frames(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the innermost frames, innermost first, as `file:function` with the base name of the file."""
    frames: list[str] = []
    for line in reversed(lines):
        found = _FRAME.match(line)
        if found:
            name = _VARYING.sub(_ANY, _base_name(found["file"]))
            frames.append(f"{name}:{found['function'] or ''}")
        elif frames and not line[0].isspace():
            break  # the head of this traceback: above it are the exceptions that led to it
        if len(frames) == _FRAMES:
            break
    return tuple(frames)


def _lines(text: str) -> list[str]:
    """Return the last lines with words, without colours, overwritten progress and the margins of exception groups."""
    lines = []
    for line in text[-_TAIL:].split("\n"):
        overwritten = line.rstrip("\r").rpartition("\r")[2]
        bounded = overwritten[:_LINE]
        lines.append((bounded if bounded.isprintable() else _CONTROL.sub("", bounded)).rstrip())
    if any("Exception Group Traceback" in line for line in lines):
        lines = [_GROUP_RULE.sub("", line) for line in lines]
    return [line for line in lines if any(character.isalnum() for character in line)]


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path


def _shortened_path(found: re.Match[str]) -> str:
    """Return the last part of a path. URLs, and words with a single slash, stay."""
    text = found[0]
    if "://" in text:
        return text
    if text[0] in "/~." or text.count("/") > 1 or _EXTENSION.search(text):
        return _base_name(text)
    return text


def _shortened_quote(found: re.Match[str]) -> str:
    inner = found[found.lastindex or 0]
    return found[0] if _NAME.fullmatch(inner) else found[0][0] + "…" + found[0][-1]
