"""The journal file: append-only lines of `crc32 JSON`.

A line is eight hexadecimal digits (the CRC-32 of the JSON text), a blank, the JSON text of one record and a newline. A
line without a newline is torn: its writer has not finished, or has died. A full disk can also take a part of a line.
The writer ends such a part with FENCE once there is room again, and repeats the whole line. A line of another writer
can follow the part directly; the reader finds it. Any other line with a wrong sum is damage: no end of a process causes
it. Neither does a byte 0 in a torn end, which only a power cut leaves.

Whoever creates a journal with O_EXCL decides its fate. A worker creates its journal before it starts anything; its
runner never does. After the runner has died, a reconciling runner finds the journal of each registered worker, or
creates it sealed. If the journal already exists, the worker exits without starting an attempt. A worker that hangs
before its first line therefore delays nobody: its attempts are free as soon as its journal is sealed. The file can
exist and be empty: its creator died before the first line, or has not written yet. An empty journal of a live worker
counts as opened by that worker.

REKINDLE_DURABILITY says how much a power cut may undo. The death of a process never undoes anything. With `normal`, a
power cut or a kernel crash can undo the last fraction of a second, and the work of that time runs again. With `full`,
each line of a journal and each transaction is on the disk before anything depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from zlib import crc32

import msgspec

from rekindle.domain.errors import JournalError
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.files.store_files import open_file
from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.records import Closed, Leaving, Opened, Record, Sealed

FENCE = b"\x18\n"
"""CANCEL and a newline: the text before it on the same line was written again. No JSON text holds this byte."""

_SUM = 8  # hexadecimal digits before the blank
_CHUNK = 1 << 16
_AT_LEAVING = lazy_regex(rb'"type":"(?:leaving|closed)".*\n')  # within a string, a quotation mark has a backslash
_LINE_STARTS = lazy_regex(rb"(?=[0-9a-f]{8} \{)")
_NO_TEXT = lazy_regex(rb"[\x00-\x1f]")  # a part of a line holds no such byte

_decode = json_reader(Record)


class Damage(msgspec.Struct, frozen=True):
    """An unreadable range: `length` bytes from `offset`, newlines included."""

    offset: int
    length: int
    reason: str

    def describe(self, path: str | os.PathLike[str]) -> str:
        """Return one line of text that names the journal and the damage."""
        return f"{os.fspath(path)}: {self.length} bytes from byte {self.offset} on cannot be read: {self.reason}"


def encode_line(record: Record) -> bytes:
    """Return a record as a line of a journal."""
    text = to_json(record)
    return b"%08x %b\n" % (crc32(text), text)


class JournalWriter:
    """Appends to a journal. Several processes can have the same file open: each `append` arrives whole."""

    def __init__(self, path: str | os.PathLike[str], *, exclusive: bool = False, durable: bool = False) -> None:
        """Open the file, and create it if needed. With `exclusive`, raise FileExistsError if it exists. With
        `durable`, appended lines survive a power cut. Raise JournalError if the file cannot be opened."""
        self.path = os.fspath(path)
        self._durable = durable
        self._torn = False  # the file ends with a part of a line of this writer
        self.before_write: Callable[[], None] | None = None  # does not return if nothing may be written
        once = os.O_EXCL if exclusive else 0
        try:
            self.fd = open_file(self.path, os.O_WRONLY | os.O_APPEND | once)
            try:
                if durable:
                    _sync_folder(self.path)
            except OSError:
                os.close(self.fd)
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def append(self, *records: Record) -> None:
        """Write records with one system call. Raise JournalError if the disk does not take them."""
        try:
            self.write(b"".join(map(encode_line, records)))
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, lines: bytes) -> None:
        """Write whole lines. Raise OSError if the disk does not take all of them. The caller can then write them
        again: the part that has arrived does no harm, and a repeated record changes nothing."""
        if self.before_write is not None:
            self.before_write()
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
        """Whether the file has been removed."""
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


def read_records(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Record], int]:
    """Return the records from byte `offset` on, and the offset behind the last of them. A torn end is left for a
    later call.

    A file that does not exist has no records. Raise JournalError for the first damage."""
    records, end, damaged = read_past_damage(path, offset)
    if damaged:
        raise JournalError(
            damaged[0].describe(path), hint="what is passed over when it is read past its damage is then lost"
        )
    return records, end


def read_past_damage(
    path: str | os.PathLike[str], offset: int = 0, *, final: bool = False
) -> tuple[list[Record], int, list[Damage]]:
    """Like `read_records`, but skip damaged ranges and return them as a third value. A journal that is shorter than
    `offset` has been truncated: this is damage too, and so is, if no process writes the journal any more (`final`), a
    torn end with bytes 0."""
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
    if final and b"\0" in content[start:]:
        _note(damaged, Damage(offset + start, len(content) - start, "its end is bytes 0"))
        start = len(content)
    return records, offset + start, damaged


def first_record(path: str | os.PathLike[str]) -> Record | None:
    """Return the first record of a journal; None if there is none yet, or if it is damaged."""
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    found = _record_of(line[:-1]) if line.endswith(b"\n") else ""
    return None if isinstance(found, str) else found


def records_at_leaving(path: str | os.PathLike[str], before: int) -> list[Leaving | Closed]:
    """Return the records of these kinds among the bytes of a journal before an offset. Raise JournalError."""
    content = _content(path, 0)[0][:before]
    lines = [content[content.rfind(b"\n", 0, at.start()) + 1 : at.end() - 1] for at in _AT_LEAVING.finditer(content)]
    return [found for found in map(_record_of, lines) if isinstance(found, Leaving | Closed)]


def _content(path: str | os.PathLike[str], offset: int) -> tuple[bytes, int]:
    """Return the bytes from `offset` on, and the file's size. A file that does not exist has no bytes and the size
    `offset`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, max(0, size - offset), offset), size
        finally:
            os.close(fd)
    except FileNotFoundError:
        return b"", offset
    except OSError as error:
        raise JournalError(
            f"cannot read the journal {os.fspath(path)}: {error.strerror}", hint="check who owns it, and the disk"
        ) from error


def _record_of(line: bytes) -> Record | str:
    """Return the record in a line, or the reason why it cannot be read."""
    text = line[_SUM + 1 :]
    try:
        if int(line[:_SUM], 16) != crc32(text) or line[_SUM : _SUM + 1] != b" ":
            return "the check sum is wrong"
        record: Record = _decode(text)
        return record
    except (ValueError, msgspec.MsgspecError) as error:
        return str(error)


def _pieces(line: bytes, at: int, reason: str) -> Iterator[Record | Damage]:
    """Yield the records and the damage in a line that is not a record. `at` is the line's offset, `reason` the
    error. The next line of another writer can follow a torn part of a line, or a lost newline."""
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
    """Add damage to the list; merge adjacent ranges."""
    if damaged and damaged[-1].offset + damaged[-1].length == more.offset:
        more = Damage(damaged[-1].offset, damaged[-1].length + more.length, damaged[-1].reason)
        damaged.pop()
    damaged.append(more)


def restore_length(path: str | os.PathLike[str], size: int) -> None:
    """Extend a truncated journal to its earlier size, so that later lines come behind the offset that was already
    read. Raise JournalError if this fails."""
    try:
        os.truncate(path, size)
    except OSError as error:
        raise _cannot_write(os.fspath(path), error) from error


def repair_end(path: str | os.PathLike[str]) -> int:
    """Cut off the torn last line of a journal that no process writes any more, and return its size in bytes. If a
    power cut has left bytes 0, end the line instead: it is damage. Raise JournalError if this fails."""
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


def create_journal(path: str, opened: Opened, *, durable: bool = False) -> JournalWriter | None:
    """Create a worker's own journal with its first line. Return None if the journal exists: it is sealed, and the
    worker must exit."""
    try:
        journal = JournalWriter(path, exclusive=True, durable=durable)
    except FileExistsError:
        return None
    try:
        journal.append(opened)
    except JournalError:
        journal.close()
        raise
    return journal


def seal_journal(path: str | os.PathLike[str], sealed: Sealed) -> bool:
    """Create the journal of a worker that has not created it, so that the worker can never start anything. Return
    whether the journal is sealed, now or by an earlier call."""
    try:
        journal = JournalWriter(path, exclusive=True)
    except FileExistsError:
        return is_sealed(path)
    try:
        journal.append(sealed)
    finally:
        journal.close()
    return True


def is_sealed(path: str | os.PathLike[str]) -> bool:
    """Return whether a journal is sealed: its worker has started nothing and never will."""
    return isinstance(first_record(path), Sealed)
