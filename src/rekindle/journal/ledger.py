"""The journal's file: lines of `crc32 JSON`, only ever appended to.

A line is eight hexadecimal digits (the CRC-32 of the JSON text), a blank, the JSON text of one record, a newline. A
line without its newline is torn: whoever wrote it has not finished, or died. A disk that is full may take a piece of a
line, too. Its writer ends that piece with FENCE when there is room again, and writes the whole line anew; another
writer's line may stand directly behind the piece and is found there. Any other line with a wrong sum is damage, which
no orderly or disorderly end of a process can cause; nor can it cause a byte 0 in a torn end, as power cuts leave them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import msgspec

from rekindle.domain.errors import JournalError
from rekindle.files.modes import open_file
from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.records import Record

FENCE = b"\x18\n"
"""CANCEL and a newline: what stands before it on its line was written again. No JSON text holds that byte."""

_SUM = 8  # hexadecimal digits before the blank
_CHUNK = 1 << 16
_LINE_STARTS = re.compile(rb"(?=[0-9a-f]{8} \{)")
_NO_TEXT = re.compile(rb"[\x00-\x1f]")  # a piece of a line holds no such byte

_decode = json_reader(Record)


@dataclass(frozen=True, slots=True)
class Damage:
    """What cannot be read: `length` bytes from `offset`, newlines included."""

    offset: int
    length: int
    reason: str

    def told(self, path: str | os.PathLike[str]) -> str:
        """In one line, with the journal's name."""
        return f"{os.fspath(path)}: {self.length} bytes from byte {self.offset} on cannot be read: {self.reason}"


def line_of(record: Record) -> bytes:
    """A record as a line of a journal."""
    text = to_json(record)
    return b"%08x %b\n" % (crc32(text), text)


class Writer:
    """Appends to a journal. Several processes may have the same file open: each `append` arrives whole."""

    def __init__(self, path: str | os.PathLike[str], *, exclusive: bool = False, durable: bool = False) -> None:
        """Open the file, made when it is not there; `exclusive`: it must not be (FileExistsError). `durable`: what is
        appended survives a power cut. JournalError when that is not possible."""
        self.path = os.fspath(path)
        self._durable = durable
        self._torn = False  # the file ends with a piece of a line of ours
        once = os.O_EXCL if exclusive else 0
        try:
            self.fd = open_file(self.path, os.O_WRONLY | os.O_APPEND | once)
            if durable:
                _sync_folder(self.path)
        except FileExistsError:
            raise
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def append(self, *records: Record) -> None:
        """Write these records with one system call. JournalError when the disk does not take them."""
        try:
            self.write(b"".join(map(line_of, records)))
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, lines: bytes) -> None:
        """Write whole lines, all of them; OSError when the disk does not take them. They may be written again then:
        what has arrived of them does no harm, and a record that is there twice tells nothing new."""
        if self._torn:
            lines = FENCE + lines
        done = 0
        try:
            while done < len(lines):  # a nearly full disk takes a part; the rest follows or fails
                done += os.write(self.fd, lines[done:] if done else lines)
        finally:
            if done:
                self._torn = lines[done - 1 : done] != b"\n"
        if self._durable:
            os.fdatasync(self.fd)

    @property
    def gone(self) -> bool:
        """The file has been removed."""
        return os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _cannot_write(path: str, error: OSError) -> JournalError:
    return JournalError(
        f"cannot write the journal {path}: {error.strerror}",
        hint="make room on that file system, or see who may write there; then `rekindle work` goes on",
    )


def read(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Record], int]:
    """The records from byte `offset` on, and the offset behind the last of them; a torn end is left for later.

    A file that is not there yet has no records. JournalError names the first damage.
    """
    records, end, damaged = read_past_damage(path, offset)
    if damaged:
        raise JournalError(
            damaged[0].told(path), hint="what is passed over when it is read past its damage is then lost"
        )
    return records, end


def read_past_damage(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Record], int, list[Damage]]:
    """As `read`, with what is damaged passed over and named. A journal that is shorter than `offset` has been cut
    short since: that is damage, too."""
    records: list[Record] = []
    damaged: list[Damage] = []
    content, size = _content(path, offset)
    if size < offset:
        return [], offset, [Damage(size, offset - size, "it has been cut short")]
    start = 0
    while (end := content.find(b"\n", start) + 1) > 0:
        line, at = content[start : end - 1], offset + start
        start = end
        found = _record_of(line)
        if not isinstance(found, str):
            records.append(found)
            continue
        for piece in _pieces(line, at, found):
            if isinstance(piece, Damage):
                _note(damaged, piece)
            else:
                records.append(piece)
    return records, offset + start, damaged


def first(path: str | os.PathLike[str]) -> Record | None:
    """The first record of a journal; None: there is none yet, or it is damaged."""
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    found = _record_of(line[:-1]) if line.endswith(b"\n") else ""
    return None if isinstance(found, str) else found


def _content(path: str | os.PathLike[str], offset: int) -> tuple[bytes, int]:
    """What stands from `offset` on, and the file's size; of one that is not there nothing, and that there is no more
    to it."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            content = file.read()
            return content, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return b"", offset
    except OSError as error:
        raise JournalError(
            f"cannot read the journal {os.fspath(path)}: {error.strerror}", hint="check who owns it, and the disk"
        ) from error


def _record_of(line: bytes) -> Record | str:
    """What a line holds, or why it cannot be read."""
    text = line[_SUM + 1 :]
    try:
        if int(line[:_SUM], 16) != crc32(text) or line[_SUM : _SUM + 1] != b" ":
            return "the check sum is wrong"
        record: Record = _decode(text)
        return record
    except (ValueError, msgspec.MsgspecError) as error:
        return str(error)


def _pieces(line: bytes, at: int, reason: str) -> Iterator[Record | Damage]:
    """What there is in a line that is no record: `at` is where it begins, `reason` what is wrong with it. Behind a
    torn piece of one writer's line the next line of another may stand, as it may behind a newline that was lost."""
    starts = (match.start() for match in _LINE_STARTS.finditer(line))
    found = next(((start, one) for start in starts if not isinstance(one := _record_of(line[start:]), str)), None)
    before = line if found is None else line[: found[0]]
    lost_newline = _record_of(before[:-1])
    if not isinstance(lost_newline, str):
        yield lost_newline
    elif not (found or line.endswith(FENCE[:1])) or _NO_TEXT.search(before.rstrip(FENCE[:1])):
        yield Damage(at, len(before) + (found is None), reason)
    if found is not None:
        yield found[1]


def _note(damaged: list[Damage], more: Damage) -> None:
    """Damage that follows damage is one."""
    if damaged and damaged[-1].offset + damaged[-1].length == more.offset:
        more = Damage(damaged[-1].offset, damaged[-1].length + more.length, damaged[-1].reason)
        damaged.pop()
    damaged.append(more)


def fill(path: str | os.PathLike[str], size: int) -> None:
    """Make a journal that was cut short as long as it was, so that what is still written to it comes behind what had
    been read. JournalError when that is not possible."""
    try:
        os.truncate(path, size)
    except OSError as error:
        raise _cannot_write(os.fspath(path), error) from error


def mend(path: str | os.PathLike[str]) -> int:
    """See to the torn last line of a journal to which nobody writes any more, and return how many bytes it has: it is
    cut off. Where a power cut has left bytes 0, it is ended, and is damage. JournalError when that is not possible."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _cannot_write(os.fspath(path), error) from error
    try:
        size = os.fstat(fd).st_size
        whole = _end_of_last_line(fd, size)
        if b"\0" in os.pread(fd, size - whole, whole):
            os.write(fd, b"\n")
        elif whole < size:
            os.ftruncate(fd, whole)
        return size - whole
    except OSError as error:
        raise _cannot_write(os.fspath(path), error) from error
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
