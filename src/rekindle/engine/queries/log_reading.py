"""Read and search logs of any size in pieces: by byte, in bounded memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from rekindle.domain.errors import Refused
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.files import kept_logs
from rekindle.files.kept_logs import content_size, open_log_file
from rekindle.files.store_files import NotARegularFile

if TYPE_CHECKING:
    from rekindle.engine.results import LogFile

PIECE_BYTES = 64 << 10
"""The most bytes of a piece."""

MOST_LINES = 5_000
"""The most lines of a piece."""

SEARCH_SECONDS = 2.0
"""How long one search reads."""

MOST_MATCHES = 50

_BEFORE_MATCH = 8 << 10  # bytes of a piece that are shown before a match
_WINDOW = 1 << 20  # bytes that are searched at once
_LEAD, _OVERLAP = 4 << 10, 64 << 10  # bytes before and after a window that a match may need
_PREVIEW = 80  # bytes before a match that its preview shows; three times as many after it
_UNFINISHED = lazy_regex(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}|\x1b(?:\[[0-9;:]{0,60})?|\r)\Z"
)
"""The beginning of a character, of an escape sequence or of a line break at the end of a piece."""

_CONTINUED = lazy_regex(rb"[\x80-\xbf]{1,3}")


class LogPiece(msgspec.Struct, frozen=True):
    """Bytes of a log, from `start` to `end` of its `size` bytes. `final`: nothing is appended to the log any more."""

    data: bytes
    start: int
    size: int
    final: bool

    @property
    def end(self) -> int:
        """Return the offset of the byte after the piece."""
        return self.start + len(self.data)


class LogMatch(msgspec.Struct, frozen=True):
    """A place where a text was found, with what is around it in its line."""

    offset: int
    length: int
    before: bytes
    found: bytes
    after: bytes


class LogSearch(msgspec.Struct, frozen=True):
    """What a search found. `resume`: the offset at which the next one goes on; None: all was searched."""

    matches: tuple[LogMatch, ...]
    resume: int | None
    searched: int  # bytes
    size: int


def open_log(file: LogFile) -> BinaryIO | None:
    """Open a log; None if nothing has been printed. Raise Refused if the job has put something else in its place."""
    try:
        return open_log_file(file.path)
    except FileNotFoundError:
        return None
    except NotARegularFile as error:
        hint = "the job has replaced its own log"
        raise Refused(f"the log of step {file.step} {error.strerror}", hint=hint) from error
    except OSError as error:
        raise Refused(f"the log of step {file.step} cannot be read: {error.strerror}") from error


def log_size(file: LogFile) -> int:
    """Return the number of bytes of a log; 0 if nothing was printed."""
    return kept_logs.log_size(file.path)


def last_piece(file: LogFile) -> LogPiece:
    """Return the last piece of a log."""
    return piece_before(file, None)


def piece_before(file: LogFile, end: int | None) -> LogPiece:
    """Return the piece that ends before a byte (None: at the end of the log). It begins with a line if lines are
    shorter than half a piece."""
    log = open_log(file)
    if log is None:
        return LogPiece(b"", 0, 0, file.final)
    with log:
        size = content_size(log)
        stop = size if end is None else min(end, size)
        start = max(0, stop - PIECE_BYTES)
        data = _read(log, start, stop - start)
    data = data[_beginning(data, start) :]
    whole = data if stop < size or file.final else data[: _end_of_whole(data)]
    lines = whole.split(b"\n")
    kept = whole if len(lines) <= MOST_LINES + 1 else b"\n".join(lines[-MOST_LINES - 1 :])
    return LogPiece(kept, stop - len(data) + len(whole) - len(kept), size, file.final)


def piece_from(file: LogFile, start: int) -> LogPiece:
    """Return the piece that begins at a byte. It ends with a line if lines are shorter than half a piece."""
    log = open_log(file)
    if log is None:
        return LogPiece(b"", 0, 0, file.final)
    with log:
        size = content_size(log)
        start = min(start, size)
        data = _read(log, start, min(PIECE_BYTES, size - start))
    ends = _ends_of_lines(data)
    if len(ends) >= MOST_LINES:
        data = data[: ends[MOST_LINES - 1]]
    elif start + len(data) < size and ends and ends[-1] > PIECE_BYTES // 2:
        data = data[: ends[-1]]
    elif start + len(data) < size or not file.final:
        data = data[: _end_of_whole(data)]
    return LogPiece(data, start, size, file.final)


def piece_around(file: LogFile, offset: int) -> LogPiece:
    """Return a piece that contains a byte, with lines before it."""
    log = open_log(file)
    if log is None:
        return LogPiece(b"", 0, 0, file.final)
    with log:
        offset = min(offset, content_size(log))
        begin = max(0, offset - _BEFORE_MATCH)
        data = _read(log, begin, offset - begin)
    return piece_from(file, begin + (_beginning(data, begin) if data else 0))


def search_log(
    file: LogFile, text: str, start: int, *, pattern: bool, backwards: bool = False, most: int = MOST_MATCHES
) -> LogSearch:
    """Search a log from a byte on, or backwards the matches that begin before it, for a text (ASCII letters in any
    case) or for a regular expression. The search ends after SEARCH_SECONDS, or with enough matches. Raise BadSelection
    for a wrong expression, SlowPattern for a slow one."""
    find = _regex_finder(text) if pattern else _text_finder(text)
    log = open_log(file)
    if log is None or not text:
        return LogSearch((), None, 0, 0)
    with log:
        size = content_size(log)
        start = min(start, size)
        deadline, matches = time.monotonic() + SEARCH_SECONDS, list[LogMatch]()
        windows = range(start // _WINDOW, -1, -1) if backwards else range(start // _WINDOW, -(-size // _WINDOW))
        for window in windows:
            low, high = window * _WINDOW, min((window + 1) * _WINDOW, size)
            low, high = (low, min(start, high)) if backwards else (max(low, start), high)
            for match in _window_matches(log, find, low, high, backwards=backwards):
                matches.append(match)
                if len(matches) >= most:
                    resume = match.offset if backwards else match.offset + match.length
                    return LogSearch(tuple(matches), resume, abs(resume - start), size)
            resume = low if backwards else high
            if 0 < resume < size and time.monotonic() > deadline:
                return LogSearch(tuple(matches), resume, abs(resume - start), size)
    return LogSearch(tuple(matches), None, start if backwards else size - start, size)


_Find = Callable[[bytes], Iterator[tuple[int, int]]]
"""Yields where matches begin and end in bytes."""


def _text_finder(text: str) -> _Find:
    wanted = text.encode(errors="surrogateescape").lower()

    def find(data: bytes) -> Iterator[tuple[int, int]]:
        lower, at = data.lower(), -1
        while (at := lower.find(wanted, at + 1)) >= 0:
            yield at, at + len(wanted)

    return find


def _regex_finder(text: str) -> _Find:
    compiled = compile_pattern(text, re.MULTILINE)

    def find(data: bytes) -> Iterator[tuple[int, int]]:
        decoded = data.decode(errors="surrogateescape")
        characters = at = 0
        for begin, end in compiled.spans_in(decoded):
            at += len(decoded[characters:begin].encode(errors="surrogateescape"))
            length = len(decoded[begin:end].encode(errors="surrogateescape"))
            characters = begin
            if length:
                yield at, at + length

    return find


def _window_matches(log: BinaryIO, find: _Find, low: int, high: int, *, backwards: bool) -> Iterator[LogMatch]:
    """Yield the matches that begin between two bytes, in the order of the search."""
    begin = max(0, low - _LEAD)
    data = _read(log, begin, high - begin + _OVERLAP)
    if begin:  # begin with a line, or at least with a character
        begin += (skipped := _beginning(data[: low - begin], begin))
        data = data[skipped:]
    found = [(at, end) for at, end in find(data) if low <= begin + at < high]
    for at, end in reversed(found) if backwards else found:
        yield _match(data, begin, at, end)


def _match(data: bytes, begin: int, at: int, end: int) -> LogMatch:
    line = data.rfind(b"\n", 0, at) + 1
    until = data.find(b"\n", end)
    before = data[max(line, at - _PREVIEW) : at]
    continued = _CONTINUED.match(before)
    found, after = data[at : min(end, at + 3 * _PREVIEW)], data[end : until if until >= 0 else None][: 3 * _PREVIEW]
    parts = before[continued.end() if continued else 0 :], found[: _end_of_whole(found)], after[: _end_of_whole(after)]
    return LogMatch(begin + at, end - at, *parts)


def _beginning(data: bytes, start: int) -> int:
    """Return where the first line of a piece begins if that is in its first half; else where a character does."""
    if start == 0:
        return 0
    line = data.find(b"\n", 0, max(1, len(data) // 2)) + 1
    continued = _CONTINUED.match(data)
    return line or (continued.end() if continued else 0)


def _end_of_whole(data: bytes) -> int:
    """Return the length of a piece without what its end cuts in two."""
    cut = _UNFINISHED.search(data, max(0, len(data) - 64))
    return cut.start() if cut and cut.start() else len(data)


def _ends_of_lines(data: bytes) -> list[int]:
    found, at = list[int](), 0
    while at := data.find(b"\n", at) + 1:
        found.append(at)
    return found


def _read(log: BinaryIO, start: int, size: int) -> bytes:
    log.seek(start)
    return log.read(size)
