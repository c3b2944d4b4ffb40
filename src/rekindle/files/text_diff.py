"""Find the first difference of two files, which may be large, and compare small texts line by line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from rekindle.files.kept_logs import open_log_file

LARGEST = 256 * 1024
"""Largest file, in bytes, that is compared line by line."""

MOST_LINES = 4_000
"""Most lines of such a file. The cost grows with their square."""

CHUNK = 1024 * 1024
_SHOWN = 2_000  # bytes of a line
_BEFORE = 200  # bytes of a long line shown before the difference


class FirstDifference(msgspec.Struct, frozen=True):
    """The first line in which two files differ. None: the file has ended before it."""

    line: int  # from 1
    a: str | None
    b: str | None


def first_difference(a: str, b: str) -> FirstDifference | None:
    """Return the first difference of two files; None if they are equal. A missing file counts as empty. Neither file
    is held in memory."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(_opened(path)) for path in (a, b))
        line, start, offset = 1, 0, 0
        while True:
            x, y = one.read(CHUNK), other.read(CHUNK)
            at = len(x) if x == y else _common_prefix(x, y)
            line += x.count(b"\n", 0, at)
            if (last := x.rfind(b"\n", 0, at)) >= 0:
                start = offset + last + 1
            offset += at
            if x != y:
                return _difference(one, other, line, start, offset)
            if not x:
                return None


def _difference(one: BinaryIO, other: BinaryIO, line: int, start: int, at: int) -> FirstDifference | None:
    """Return the difference; `start` is the offset of the line in both files, `at` the offset of the difference."""
    ended = [_at(file, at, 2) for file in (one, other)]
    if at > start and b"" in ended and b"\n" in (ended[0][:1], ended[1][:1]):
        if b"\n" in ended:
            return None  # one lacks the newline at its very end
        line, start, at = line + 1, at + 1, at + 1
    begin = start if at - start < _SHOWN - _BEFORE else at - _BEFORE
    return FirstDifference(line, _line(one, begin), _line(other, begin))


def text_diff(a: str, b: str) -> list[str] | str:
    """Return the lines in which two small texts differ, prefixed with `- ` and `+ `, or a phrase that says why they
    are not compared."""
    texts = []
    for path in (a, b):
        if not Path(path).is_file():
            return "no file"
        if os.stat(path).st_size > LARGEST:
            return "too large to compare by line"
        data = Path(path).read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return "not a text"
        if "\0" in text:
            return "not a text"
        texts.append(text.splitlines())
    if max(map(len, texts)) > MOST_LINES:
        return "too large to compare by line"
    return list(_changed(*texts))


def _changed(a: list[str], b: list[str]) -> Iterator[str]:
    lines = difflib.unified_diff(a, b, n=0, lineterm="")
    return (f"{line[0]} {line[1:]}" for line in list(lines)[2:] if not line.startswith("@@"))


def _opened(path: str) -> BinaryIO:
    try:
        return open_log_file(path)
    except FileNotFoundError:
        return BytesIO()


def _common_prefix(x: bytes, y: bytes) -> int:
    """Return the length of the common prefix of two texts in bytes."""
    low, high = 0, min(len(x), len(y))
    while low < high:
        middle = (low + high + 1) // 2
        if x[low:middle] == y[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _line(file: BinaryIO, begin: int) -> str | None:
    data = _at(file, begin, _SHOWN)
    return data.partition(b"\n")[0].decode(errors="replace") if data else None
