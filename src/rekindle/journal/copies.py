"""True copies of files and folders: reflinks where the file system can, never hard links, also across file systems.

Symbolic links stay links. Permissions, times and extended attributes are kept, holes stay holes. Sockets, pipes and
devices are left out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator

from rekindle.journal.beneath import by_descriptor, open_folder, parent_of

_CLONE = 0x40049409  # FICLONE of linux/fs.h: the copy shares the blocks until one of the two is written
_PIECE = 8 << 20  # bytes between two looks at the progress
_NO_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES)

Tell = Callable[[int], None]
"""Told of bytes as they are copied."""


def size_of(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(path))


def files_of(path: str) -> list[str]:
    """A file or symbolic link itself; of a folder, those in it, absolute, in order."""
    if not os.path.isdir(path) or os.path.islink(path):
        return [path]
    return sorted(entry.path for entry in _files(path))


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            yield entry


def copy_tree(source: str, target: str, tell: Tell, leave_out: Collection[str] = ()) -> None:
    """Copy a folder to `target`, which is not there; `leave_out` are names directly in it. Follow no symbolic link
    below `source`, even if a folder is replaced by one meanwhile. OSError when that is not possible: what has been made
    by then stays for the caller to remove."""
    folders = [""]
    made = []
    while folders:
        inner = folders.pop()
        os.mkdir(f"{target}{inner}", 0o700)
        made.append(inner)
        with _opened(source, inner) as came:
            for entry in list(os.scandir(came)):
                if entry.name in leave_out and not inner:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{inner}/{entry.name}")
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    copy_file(by_descriptor(came, entry.name), f"{target}{inner}/{entry.name}", tell)
    for inner in reversed(made):  # what may not be written in any more comes last
        with _opened(source, inner) as came:
            shutil.copystat(by_descriptor(came), f"{target}{inner}")


@contextlib.contextmanager
def _opened(source: str, inner: str) -> Iterator[int]:
    """Open the folder `inner` ("" or "/name/…") of `source`. An OSError in the block names paths, not descriptors."""
    with parent_of(source, f"{source}{inner}") as (at, name):
        came = open_folder(at, name, f"{source}{inner}")
    try:
        yield came
    except OSError as error:
        if str(error.filename).startswith(prefix := by_descriptor(came)):
            error.filename = f"{source}{inner}{str(error.filename).removeprefix(prefix)}"
        raise
    finally:
        os.close(came)


def copy_file(source: str, target: str, tell: Tell) -> None:
    """Copy a file or a symbolic link to `target`, which is not there. OSError for anything else."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        tell(os.lstat(source).st_size)
        with contextlib.suppress(OSError):  # a link's own times and attributes are no loss
            shutil.copystat(source, target, follow_symlinks=False)
        return
    came = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(came)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", source)
        goes = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if not _cloned(came, goes, tell, found.st_size):
                _copy_content(came, goes, found.st_size, tell)
            shutil.copystat(by_descriptor(came), by_descriptor(goes))
        finally:
            os.close(goes)
    finally:
        os.close(came)


def _cloned(came: int, goes: int, tell: Tell, size: int) -> bool:
    try:
        fcntl.ioctl(goes, _CLONE, came)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    tell(size)
    return True


def _copy_content(came: int, goes: int, size: int, tell: Tell) -> None:
    """Copy what is not a hole."""
    os.ftruncate(goes, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(came, at, os.SEEK_DATA)
            end = os.lseek(came, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            start = end = size  # nothing but a hole is left
        tell(start - at)
        _copy_range(came, goes, start, end, tell)
        at = end


def _copy_range(came: int, goes: int, start: int, end: int, tell: Tell) -> None:
    at, in_kernel = start, True
    while at < end:
        piece = min(_PIECE, end - at)
        if in_kernel:
            try:
                done = os.copy_file_range(came, goes, piece, at, at)
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                in_kernel = False
                continue
            if not done:
                in_kernel = False  # some file systems copy nothing where there is something
                continue
        else:
            content = os.pread(came, piece, at)
            if not content:
                return  # it has become shorter meanwhile
            done = os.pwrite(goes, content, at)
        at += done
        tell(done)


def remove_tree(path: str) -> None:
    """Remove a folder, one that may not be written in too; nothing when it is not there. A symbolic link is removed,
    and its target left alone."""

    def unlocked(remove: Callable[[str], object], failed: str, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return
        os.chmod(os.path.dirname(failed), stat.S_IRWXU)
        if not os.path.islink(failed):  # the mode would be that of the link's target
            with contextlib.suppress(NotADirectoryError, FileNotFoundError):
                os.chmod(failed, stat.S_IRWXU)
        remove(failed)

    if os.path.islink(path):
        os.unlink(path)
    elif os.path.lexists(path):
        shutil.rmtree(path, onerror=lambda remove, failed, info: unlocked(remove, failed, info[1]))
