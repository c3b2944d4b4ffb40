"""Where two texts part: of files that may be large, and of small ones line by line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

LARGEST = 256 * 1024
"""Bytes of a file that is compared line by line."""

MOST_LINES = 4_000
"""Lines of such a file: what it costs grows with their square."""

CHUNK = 1024 * 1024
_SHOWN = 2_000  # bytes of a line
_BEFORE = 200  # bytes of a long line that are shown before the place where it parts from another


@dataclass(frozen=True, slots=True)
class Parting:
    """The first line in which two files differ. None: there the file has ended."""

    line: int  # from 1
    a: str | None
    b: str | None


def first_parting(a: str, b: str) -> Parting | None:
    """Where two files part; one that is not there counts as empty. None: nowhere. Neither is held in memory."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(_opened(path)) for path in (a, b))
        line, start, offset = 1, 0, 0
        while True:
            x, y = one.read(CHUNK), other.read(CHUNK)
            at = len(x) if x == y else _alike(x, y)
            line += x.count(b"\n", 0, at)
            if (last := x.rfind(b"\n", 0, at)) >= 0:
                start = offset + last + 1
            offset += at
            if x != y:
                return _parting(one, other, line, start, offset)
            if not x:
                return None


def _parting(one: BinaryIO, other: BinaryIO, line: int, start: int, at: int) -> Parting | None:
    """`start` is where the line begins in both, `at` where they part."""
    ended = [_at(file, at, 2) for file in (one, other)]
    if at > start and b"" in ended and b"\n" in (ended[0][:1], ended[1][:1]):
        if b"\n" in ended:
            return None  # one lacks the newline at its very end
        line, start, at = line + 1, at + 1, at + 1
    begin = start if at - start < _SHOWN - _BEFORE else at - _BEFORE
    return Parting(line, _line(one, begin), _line(other, begin))


def text_diff(a: str, b: str) -> list[str] | str:
    """The lines in which two small texts differ, with `- ` and `+ ` before them, or in words why they are not told."""
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
        return open(path, "rb")
    except FileNotFoundError:
        return BytesIO()


def _alike(x: bytes, y: bytes) -> int:
    """How many bytes two texts begin with alike."""
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
