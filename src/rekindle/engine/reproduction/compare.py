"""Compare how an attempt ended again with how it had ended: its end, its result, its outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.changes.fingerprints import ABSENT, FileContent
from rekindle.files.digests import digest_of, file_stat, mtime_digest
from rekindle.journal.trees import tree_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.domain.models import Attempt, AttemptEnd, Failure
    from rekindle.domain.subtasks import Subtask, SubtaskEnd
    from rekindle.engine.reproduction.recorded import RecordedAttempt
    from rekindle.engine.reproduction.scratch import Scratch
    from rekindle.journal.records import Ended

_CHUNK = 1 << 20
_MOST_JSON = 16 << 20  # bytes of a file that is read as JSON
_SHOWN = 200  # characters of a value or line

OutputWord = Literal["same", "differs", "missing", "unknown"]
"""How an output compares with the recorded one; `unknown`: its content was not recorded."""


class FirstDifference(msgspec.Struct, frozen=True):
    """Where two files or values first differ. Positions that do not apply are None."""

    file: str | None = None  # within a folder
    byte: int | None = None  # from 0
    line: int | None = None  # from 1
    path: str | None = None  # in a JSON value: `$.scores[3]`
    before: str | None = None
    after: str | None = None


class ComparedOutput(msgspec.Struct, frozen=True):
    """A declared output that was made again."""

    name: str
    word: OutputWord
    path: str  # of the one that was made again
    before: str | None  # digests; None: it was not there
    after: str | None
    first: FirstDifference | None = None  # None: equal, or the recorded content is not to be had


class EndDifference(msgspec.Struct, frozen=True):
    """A field in which two ends differ."""

    field: str  # state, cause, exit_code, signal, error (an exception's type, else the message), result, verdict
    before: Any
    after: Any
    first: FirstDifference | None = None


class ComparedRun(msgspec.Struct, frozen=True):
    """An attempt's end beside the end of its reproduction."""

    ends: tuple[EndDifference, ...]
    outputs: tuple[ComparedOutput, ...]
    comparable: bool  # an output or a result was there to compare

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.ends and all(one.word in ("same", "unknown") for one in self.outputs)


def compare_ends(one: RecordedAttempt, scratch: Scratch, ended: Ended) -> ComparedRun:
    """Compare the end of a reproduction with the recorded one. Outputs are compared if both attempts completed."""
    ends = tuple(_end_differences(one.attempt, ended))
    outputs: tuple[ComparedOutput, ...] = ()
    if ended.prints is not None and ended.cause is None and one.attempt.cause is None:
        made = {each.name: each for each in ended.prints.outputs}
        outputs = tuple(_compare_output(each, made.get(each.name), scratch) for each in one.prints.outputs)
    known = any(each.word != "unknown" for each in outputs)
    return ComparedRun(ends, outputs, known or one.attempt.result is not None)


def compare_subtasks(was: Subtask, now: SubtaskEnd) -> ComparedRun:
    """Compare the end of one item."""
    return ComparedRun(tuple(_end_differences(was, now)), (), was.result is not None)


def _end_differences(was: Attempt | Subtask, now: AttemptEnd | SubtaskEnd) -> Iterator[EndDifference]:
    failures: list[Failure | None] = [getattr(side, "failure", None) for side in (was, now)]
    kinds = [None if failure is None else failure.type for failure in failures]
    pairs: list[tuple[str, Any, Any]] = [
        ("state", was.state.label, now.state.label),
        ("cause", was.cause, now.cause),
        ("exit_code", was.exit_code, now.exit_code),
        ("signal", was.signal, now.signal),
    ]
    for field, before, after in pairs:
        unrecorded = field == "exit_code" and before is None and not now.exit_code  # of an imported attempt, or a call
        if before != after and not unrecorded:
            yield EndDifference(field, before, after)
    if kinds[0] != kinds[1]:
        errors = [None if failure is None else failure.type or failure.message for failure in failures]
        yield EndDifference("error", errors[0], errors[1])
    if was.result != now.result:
        before, after = (None if text is None else json.loads(text) for text in (was.result, now.result))
        first = first_json_difference(before, after)
        if first is not None:
            yield EndDifference("result", before, after, first)
    verdicts = tuple(getattr(side, "verdict", None) for side in (was, now))
    if verdicts[0] != verdicts[1]:
        yield EndDifference("verdict", *(None if each is None else each.word.value for each in verdicts))


def _compare_output(was: FileContent, made: FileContent | None, scratch: Scratch) -> ComparedOutput:
    path = scratch.here(was.path) if made is None else made.path
    before, after = was.digest or None, (made.digest or None) if made else None
    if after is None:
        return ComparedOutput(was.name, "missing", path, before, after)
    if was.digest == after:
        return ComparedOutput(was.name, "same", path, before, after)
    there = _is_as_recorded(was)
    if was.by == "mtime":  # its content was not recorded; the file itself may still be as the attempt left it
        if not there:
            return ComparedOutput(was.name, "unknown", path, before, after)
        before, after = digest_of(was.path), digest_of(path)
        if before == after:
            return ComparedOutput(was.name, "same", path, before, after)
    first = first_difference(was.path, path) if there else None
    return ComparedOutput(was.name, "differs", path, before, after, first)


def _is_as_recorded(was: FileContent) -> bool:
    if was.by == "mtime":
        found = file_stat(was.path)
        return found is not None and not found.folder and mtime_digest(found) == was.digest
    return was.digest != ABSENT and digest_of(was.path) == was.digest


def first_difference(before: str, after: str) -> FirstDifference | None:
    """Return where two files, or the files of two folders, first differ. None: they do not, or one cannot be read."""
    if Path(before).is_dir() or Path(after).is_dir():
        return _first_in_folders(before, after)
    try:
        return _first_in_json(before, after) or _first_in_files(before, after)
    except OSError:
        return None


def _first_in_folders(before: str, after: str) -> FirstDifference | None:
    sides = [
        {path.removeprefix(f"{folder}/"): path for path in tree_files(folder)}
        if Path(folder).is_dir()
        else {"": folder}
        for folder in (before, after)
    ]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        if name not in sides[0] or name not in sides[1]:
            there = [None if name not in side else "there" for side in sides]
            return FirstDifference(name, before=there[0], after=there[1])
        first = first_difference(sides[0][name], sides[1][name])
        if first is not None:
            return msgspec.structs.replace(first, file=name)
    return None


def _first_in_json(before: str, after: str) -> FirstDifference | None:
    if not before.endswith(".json") or max(Path(path).stat().st_size for path in (before, after)) > _MOST_JSON:
        return None
    values = []
    for path in (before, after):
        with open(path, "rb") as file:
            try:
                values.append(json.loads(file.read()))
            except ValueError:
                return None
    return first_json_difference(*values)


def first_json_difference(before: Any, after: Any, path: str = "$") -> FirstDifference | None:
    """Return where two JSON values first differ, in the order of the first one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            if name not in before or name not in after:
                sides = (_shown(side[name]) if name in side else None for side in (before, after))
                return FirstDifference(None, None, None, f"{path}.{name}", *sides)
            if found := first_json_difference(before[name], after[name], f"{path}.{name}"):
                return found
        return None
    if isinstance(before, list) and isinstance(after, list):
        for at, (one, other) in enumerate(zip(before, after, strict=False)):
            if found := first_json_difference(one, other, f"{path}[{at}]"):
                return found
        if len(before) != len(after):
            at = min(len(before), len(after))
            sides = (_shown(side[at]) if at < len(side) else None for side in (before, after))
            return FirstDifference(None, None, None, f"{path}[{at}]", *sides)
        return None
    if json.dumps(before) == json.dumps(after):
        return None
    return FirstDifference(None, None, None, path, _shown(before), _shown(after))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _first_in_files(before: str, after: str) -> FirstDifference | None:
    """Return the first byte that differs, with its line if both are text there."""
    offset, lines = 0, 1
    with open(before, "rb") as one, open(after, "rb") as other:
        while True:
            chunks = one.read(_CHUNK), other.read(_CHUNK)
            if chunks[0] == chunks[1]:
                if not chunks[0]:
                    return None
                offset, lines = offset + len(chunks[0]), lines + chunks[0].count(b"\n")
                continue
            at = next(at for at, (a, b) in enumerate(zip_longest(*chunks)) if a != b)
            line = lines + chunks[0][:at].count(b"\n")
            texts = _lines_at(chunks, at)
            return FirstDifference(None, offset + at, None if texts is None else line, None, *(texts or (None, None)))


def _lines_at(chunks: Sequence[bytes], at: int) -> tuple[str, str] | None:
    """Return the lines around a byte; None if one is no text."""
    found = []
    for chunk in chunks:
        start = chunk.rfind(b"\n", 0, at) + 1
        end = chunk.find(b"\n", start)
        line = chunk[start : len(chunk) if end < 0 else end][:_SHOWN]
        text = line.decode("utf-8", errors="replace")
        if "\0" in text or "\ufffd" in text[:-1]:
            return None
        found.append(text)
    return found[0], found[1]
