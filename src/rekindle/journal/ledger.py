"""The journal's file: lines of `crc32 JSON`, only ever appended to.

A line is eight hexadecimal digits (the CRC-32 of the JSON text), a blank, the JSON text of one record, a newline. A
line without its newline is torn: whoever wrote it has not finished, or died. A line with its newline and a wrong sum
is damage, which no orderly or disorderly end of a process can cause.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import msgspec

from rekindle.domain.errors import JournalError
from rekindle.journal.records import Record

_SUM = 8  # hexadecimal digits before the blank
_CHUNK = 1 << 16

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that cannot be read: `length` bytes from `offset`, its newline included."""

    offset: int
    length: int
    reason: str


def line_of(record: Record) -> bytes:
    """A record as a line of a journal."""
    text = _encode(record)
    return b"%08x %b\n" % (crc32(text), text)


class Writer:
    """Appends to a journal. Several processes may have the same file open: each `append` arrives whole."""

    def __init__(self, path: str | os.PathLike[str], *, exclusive: bool = False) -> None:
        """Open the file, made when it is not there; `exclusive`: it must not be (FileExistsError)."""
        self.path = os.fspath(path)
        once = os.O_EXCL if exclusive else 0
        self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | once, 0o644)

    def append(self, *records: Record) -> None:
        """Write these records with one system call. JournalError when the disk does not take them."""
        write_lines(self.fd, b"".join(map(line_of, records)), self.path)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def write_lines(fd: int, lines: bytes, path: str) -> None:
    """Write whole lines to a journal's descriptor; `path` is for the message only."""
    try:
        written = os.write(fd, lines)
        while written < len(lines):  # a nearly full disk takes a part; the rest follows or fails
            written += os.write(fd, lines[written:])
    except OSError as error:
        raise JournalError(
            f"cannot write the journal {path}: {error.strerror}", hint="make room on that file system"
        ) from error


def read(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Record], int]:
    """The records from byte `offset` on, and the offset behind the last of them; a torn end is left for later.

    A file that is not there yet has no records. JournalError names the first damaged line.
    """
    records: list[Record] = []
    for entry, end in _entries(path, offset):
        if isinstance(entry, Damage):
            raise JournalError(
                f"{os.fspath(path)}: the line at byte {entry.offset} is damaged: {entry.reason}",
                hint=f"its {entry.length} bytes are passed over when it is read past its damage; "
                "what they told of is then lost",
            )
        records.append(entry)
        offset = end
    return records, offset


def read_past_damage(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Record], int, list[Damage]]:
    """As `read`, with damaged lines passed over and named."""
    records: list[Record] = []
    damaged: list[Damage] = []
    for entry, end in _entries(path, offset):
        if isinstance(entry, Damage):
            damaged.append(entry)
        else:
            records.append(entry)
        offset = end
    return records, offset, damaged


def first(path: str | os.PathLike[str]) -> Record | None:
    """The first record of a journal; None: there is none yet, or it is damaged."""
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):
        return None
    entry, _ = _entry(line[:-1], 0)
    return None if isinstance(entry, Damage) else entry


def _entries(path: str | os.PathLike[str], offset: int) -> Iterator[tuple[Record | Damage, int]]:
    """(what stands in a whole line, the offset behind it)."""
    for line in _whole_lines(path, offset):
        entry, offset = _entry(line, offset)
        yield entry, offset


def _entry(line: bytes, start: int) -> tuple[Record | Damage, int]:
    """What stands in a line that begins at `start`, and the offset behind it."""
    end, text = start + len(line) + 1, line[_SUM + 1 :]
    try:
        if int(line[:_SUM], 16) != crc32(text) or line[_SUM : _SUM + 1] != b" ":
            return Damage(start, len(line) + 1, "its check sum is wrong"), end
        return _decode(text), end
    except (ValueError, msgspec.MsgspecError) as error:
        return Damage(start, len(line) + 1, str(error)), end


def _whole_lines(path: str | os.PathLike[str], offset: int) -> list[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")
    lines.pop()  # empty, or torn
    return lines


def mend(path: str | os.PathLike[str]) -> int:
    """Cut off the torn last line of a journal to which nobody writes any more; returns how many bytes it had."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(fd).st_size
        whole = _end_of_last_line(fd, size)
        if whole < size:
            os.ftruncate(fd, whole)
        return size - whole
    finally:
        os.close(fd)


def _end_of_last_line(fd: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _CHUNK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
