"""Paths below a folder, opened without following symbolic links.

The root may be reached through links; nothing below it is. Every component is opened relative to the folder before it,
so that a folder that is replaced by a link at any moment is an error, and never a way out of the root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from rekindle.files.modes import set_mode

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def below(root: str, path: str) -> str | None:
    """Return an absolute path relative to `root` ("." for `root` itself); None if the path leads out of `root`."""
    root, path = os.path.normpath(root), os.path.normpath(path)
    if path == root:
        return "."
    prefix = f"{root.rstrip('/')}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


@contextlib.contextmanager
def parent_of(
    root: str, path: str, made: list[str] | None = None, mode: int | None = None
) -> Iterator[tuple[int, str]]:
    """Open the folder that holds `path`, an absolute path below `root`; yield its descriptor (O_PATH) and the last
    name of `path`. With `made`, create the folders that are missing and add their paths to `made`;
    these have that `mode` whatever the umask, if it is given.

    Raises OSError with the component in `filename`: ELOOP for a symbolic link, ENOTDIR for another file.
    """
    inner = below(root, path)
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
                set_mode(by_descriptor(at), mode)
        yield at, name
    finally:
        os.close(at)


def open_folder(at: int, name: str, path: str, access: int = os.O_RDONLY) -> int:
    """Open the folder `name` of the folder `at`, which is not a symbolic link. `path` is for errors, as `parent_of`
    says."""
    try:
        return os.open(name, access | _FOLDER, dir_fd=at)
    except NotADirectoryError:
        code = errno.ELOOP if stat.S_ISLNK(kind(at, name) or 0) else errno.ENOTDIR
        raise OSError(code, os.strerror(code), path) from None
    except OSError as error:
        error.filename = path
        raise


def kind(at: int, name: str) -> int | None:
    """Return the mode of what is called `name` in the folder `at`, a link not followed; None if nothing is."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def take_name(source: int, draft: str, target: int, name: str) -> None:
    """Move a file from one open folder to a name in another that is free. FileExistsError when it is taken."""
    try:
        os.link(draft, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except PermissionError:  # a file system without hard links, or a folder that is read-only: that fails again
        if kind(target, name) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        os.rename(draft, name, src_dir_fd=source, dst_dir_fd=target)
    else:
        os.unlink(draft, dir_fd=source)


def by_descriptor(at: int, name: str = "") -> str:
    """Return a path for an open folder, or for what is called `name` in it, that no renaming redirects."""
    return f"/proc/self/fd/{at}/{name}" if name else f"/proc/self/fd/{at}"
