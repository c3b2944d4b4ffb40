"""What an import of a bundle is about to write, recorded before it writes: a process that is killed leaves files, and
the record says which.

A record is a file in the folder `imports` of the store's folder. Its process holds it locked until the rows of the
workflow are committed or the files are removed again; a record that nobody holds is of a process that has died."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import msgspec

from rekindle.files.digests import digest_of
from rekindle.files.store_files import make_folder, open_file
from rekindle.journal.content_store import is_locked_by_another
from rekindle.journal.encoding import json_reader, to_json
from rekindle.journal.paths import attempt_folder
from rekindle.journal.trees import remove_path

PART_SECONDS = 86_400.0
"""How long a record stays that was not complete when its process died: nothing was written then."""

_END, _PART = ".json", ".new"


class DraftFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of the project that is written. `mtime_ns`: its time of modification; None: any."""

    path: str  # absolute
    size: int
    blake3: str
    mtime_ns: int | None


class ImportDraft(msgspec.Struct, frozen=True):
    """What an import writes. `first`, `count`: the ids that are reserved for its attempts. `folders`: those of the
    project that do not exist, a folder before what is in it."""

    token: str
    bundle: str
    first: int
    count: int
    files: tuple[DraftFile, ...]
    folders: tuple[str, ...]

    @property
    def part_name(self) -> str:
        """The name of a file of the project while it is written, in its folder."""
        return f".rekindle-import-{self.token}"


_DRAFT = json_reader(ImportDraft)


def new_token() -> str:
    """Return a name for an import."""
    return secrets.token_hex(8)


@contextlib.contextmanager
def recorded(store: str, draft: ImportDraft) -> Iterator[None]:
    """Hold the record of an import, on the disk before anything else is; it is gone afterwards. If the block raises,
    what the import has made is removed first; the record stays if that fails."""
    folder = f"{store}/imports"
    make_folder(folder)
    path = f"{folder}/{draft.token}{_END}"
    with open(open_file(f"{path}{_PART}", os.O_RDWR | os.O_EXCL), "wb") as file:
        is_locked_by_another(file.fileno())
        file.write(to_json(draft))
        file.flush()
        os.fsync(file.fileno())
        os.rename(f"{path}{_PART}", path)
        try:
            yield
        except BaseException:  # an interruption too
            remove_files(store, draft)
            os.unlink(path)
            raise
        os.unlink(path)


def unfinished(store: str) -> Iterator[ImportDraft]:
    """Yield what imports have recorded that have died; no other process has them meanwhile."""
    folder = f"{store}/imports"
    for name in _names(folder):
        if not name.endswith(_END):
            continue
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/{name}", "rb") as file:
            if not is_locked_by_another(file.fileno()) and os.path.exists(file.name):
                yield _DRAFT(file.read())


def forget(store: str, draft: ImportDraft) -> None:
    """Remove the record of an import that has died."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{store}/imports/{draft.token}{_END}")


def forget_parts(store: str, before: float) -> None:
    """Remove the records that were begun before a time and are not complete."""
    for name in _names(f"{store}/imports"):
        path = f"{store}/imports/{name}"
        with contextlib.suppress(FileNotFoundError):
            if name.endswith(_PART) and os.lstat(path).st_mtime < before:
                os.unlink(path)


def remove_files(store: str, draft: ImportDraft) -> None:
    """Remove the files and folders that an import has made. A file that is not as the import wrote it is left alone, as
    is a folder with something in it. Raise OSError."""
    for folder in dict.fromkeys(os.path.dirname(one.path) for one in draft.files):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{folder}/{draft.part_name}")
    for one in draft.files:
        if _is_as_written(one):
            os.unlink(one.path)
    for folder in reversed(draft.folders):
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(folder)
    _remove_attempts(store, range(draft.first, draft.first + draft.count))


def _is_as_written(one: DraftFile) -> bool:
    try:
        found = os.lstat(one.path)
    except OSError:
        return False
    same = found.st_size == one.size and one.mtime_ns in (None, found.st_mtime_ns)
    return same and not os.path.islink(one.path) and digest_of(one.path) == one.blake3


def _remove_attempts(store: str, attempts: range) -> None:
    """Remove the folders and logs of attempts. The folder that attempts share is listed once for all of them."""
    listed, names = "", list[str]()
    for attempt in attempts:
        folder, _, number = attempt_folder(store, attempt).rpartition("/")
        if folder != listed:
            listed, names = folder, _names(folder)
        for name in names:
            if name.partition(".")[0] == number:
                remove_path(f"{folder}/{name}")


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
