"""Open, copy and remove files and folders below a root without following symbolic links.

The root may be reached through links; below it, no component is a link. Every component is opened relative to the
folder before it, so that replacing a folder by a link at any moment is an error and never leads out of the root.

Copies are reflinks where the file system supports them, never hard links. Symbolic links stay links. Permissions,
times, extended attributes and holes are kept. Sockets, pipes and devices are left out."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Collection, Iterator

from rekindle.files.store_files import set_mode

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def relative_below(root: str, path: str) -> str | None:
    """Return an absolute path relative to `root` ("." for `root` itself); None if the path leads out of `root`."""
    root, path = os.path.normpath(root), os.path.normpath(path)
    if path == root:
        return "."
    prefix = f"{root.rstrip('/')}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


@contextlib.contextmanager
def open_parent(
    root: str, path: str, made: list[str] | None = None, mode: int | None = None
) -> Iterator[tuple[int, str]]:
    """Open the folder that holds `path`, an absolute path below `root`; yield its descriptor (O_PATH) and the last
    name of `path`. With `made`, create missing folders and add their paths to `made`; with `mode`, they get that
    mode whatever the umask.

    Raise OSError with the component in `filename`: ELOOP for a symbolic link, ENOTDIR for another file."""
    inner = relative_below(root, path)
    if inner is None:
        raise OSError(errno.EXDEV, "outside the folder", path)
    *folders, name = inner.split("/")
    at, reached = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), os.path.normpath(root)
    try:
        for folder in folders:
            reached = os.path.join(reached, folder)
            if made is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o777 if mode is None else mode & 0o700, dir_fd=at)
                    made.append(reached)
            inside = open_folder(at, folder, reached, os.O_PATH)
            os.close(at)
            at = inside
            if mode is not None and made and made[-1] == reached:
                set_mode(descriptor_path(at), mode)
        yield at, name
    finally:
        os.close(at)


def open_folder(at: int, name: str, path: str, access: int = os.O_RDONLY) -> int:
    """Open the folder `name` of the open folder `at`; it may not be a symbolic link. `path` is for errors, as in
    `open_parent`."""
    try:
        return os.open(name, access | _FOLDER, dir_fd=at)
    except NotADirectoryError:
        code = errno.ELOOP if stat.S_ISLNK(mode_at(at, name) or 0) else errno.ENOTDIR
        raise OSError(code, os.strerror(code), path) from None
    except OSError as error:
        error.filename = path
        raise


def mode_at(at: int, name: str) -> int | None:
    """Return the mode of `name` in the open folder `at` (a link is not followed); None if there is none."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def move_to_free_name(source: int, draft: str, target: int, name: str) -> None:
    """Move a file from one open folder to a free name in another. Raise FileExistsError if the name is taken."""
    try:
        os.link(draft, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except PermissionError:  # no hard links here, or a read-only folder (the rename fails too)
        if mode_at(target, name) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        os.rename(draft, name, src_dir_fd=source, dst_dir_fd=target)
    else:
        os.unlink(draft, dir_fd=source)


def descriptor_path(at: int, name: str = "") -> str:
    """Return a path for an open folder, or for `name` in it, that stays valid when folders are renamed."""
    return f"/proc/self/fd/{at}/{name}" if name else f"/proc/self/fd/{at}"


_CLONE = 0x40049409  # FICLONE of linux/fs.h: both files share blocks until one is written
_PIECE = 8 << 20  # bytes between two progress reports
_NO_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES)

OnCopied = Callable[[int], None]
"""Called with the number of bytes copied since the last call."""


def tree_size(path: str) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(path))


def tree_files(path: str) -> list[str]:
    """Return the absolute paths of the files in a folder, sorted; for a file or symbolic link, itself."""
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


def copy_tree(source: str, target: str, on_copied: OnCopied, leave_out: Collection[str] = ()) -> None:
    """Copy a folder to `target`, which must not exist. Leave out the names `leave_out` directly in it. Follow no
    symbolic link below `source`, even if a folder is replaced by one meanwhile. Raise OSError on failure; the caller
    removes the incomplete copy."""
    from shutil import copystat

    folders = [""]
    made = []
    while folders:
        inner = folders.pop()
        os.mkdir(f"{target}{inner}", 0o700)
        made.append(inner)
        with _open_inside(source, inner) as source_fd:
            for entry in list(os.scandir(source_fd)):
                if entry.name in leave_out and not inner:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{inner}/{entry.name}")
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    copy_file(descriptor_path(source_fd, entry.name), f"{target}{inner}/{entry.name}", on_copied)
    for inner in reversed(made):  # last: the copied mode may forbid writing
        with _open_inside(source, inner) as source_fd:
            copystat(descriptor_path(source_fd), f"{target}{inner}")


@contextlib.contextmanager
def _open_inside(source: str, inner: str) -> Iterator[int]:
    """Open the folder `inner` ("" or "/name/…") of `source`. An OSError in the block names paths, not descriptors."""
    with open_parent(source, f"{source}{inner}") as (at, name):
        source_fd = open_folder(at, name, f"{source}{inner}")
    try:
        yield source_fd
    except OSError as error:
        if str(error.filename).startswith(prefix := descriptor_path(source_fd)):
            error.filename = f"{source}{inner}{str(error.filename).removeprefix(prefix)}"
        raise
    finally:
        os.close(source_fd)


def copy_file(source: str, target: str, on_copied: OnCopied) -> None:
    """Copy a file or a symbolic link to `target`, which must not exist. Raise OSError for anything else."""
    from shutil import copystat

    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        on_copied(os.lstat(source).st_size)
        with contextlib.suppress(OSError):  # a link's own times and attributes do not matter
            copystat(source, target, follow_symlinks=False)
        return
    source_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(source_fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", source)
        target_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if not _clone(source_fd, target_fd, on_copied, found.st_size):
                _copy_content(source_fd, target_fd, found.st_size, on_copied)
            copystat(descriptor_path(source_fd), descriptor_path(target_fd))
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _clone(source_fd: int, target_fd: int, on_copied: OnCopied, size: int) -> bool:
    try:
        fcntl.ioctl(target_fd, _CLONE, source_fd)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    on_copied(size)
    return True


def _copy_content(source_fd: int, target_fd: int, size: int, on_copied: OnCopied) -> None:
    """Copy the data; leave holes out."""
    os.ftruncate(target_fd, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(source_fd, at, os.SEEK_DATA)
            end = os.lseek(source_fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            start = end = size  # only a hole is left
        on_copied(start - at)
        _copy_range(source_fd, target_fd, start, end, on_copied)
        at = end


def _copy_range(source_fd: int, target_fd: int, start: int, end: int, on_copied: OnCopied) -> None:
    at, in_kernel = start, True
    while at < end:
        piece = min(_PIECE, end - at)
        if in_kernel:
            try:
                done = os.copy_file_range(source_fd, target_fd, piece, at, at)
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                in_kernel = False
                continue
            if not done:
                in_kernel = False  # some file systems copy nothing here
                continue
        else:
            content = os.pread(source_fd, piece, at)
            if not content:
                return  # the file was truncated meanwhile
            done = os.pwrite(target_fd, content, at)
        at += done
        on_copied(done)


def remove_tree(path: str) -> None:
    """Remove a folder, even a read-only one, if it exists. A symbolic link is removed, not its target."""

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
        from shutil import rmtree

        rmtree(path, onerror=lambda remove, failed, info: unlocked(remove, failed, info[1]))


def remove_path(path: str) -> None:
    """Remove a file, a symbolic link or a folder, if it exists."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
