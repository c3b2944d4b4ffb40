"""Permissions of a store: closed to other users, or shared with a group.

The setgid bit of the store's folder is the setting, and the kernel hands it on to each new folder. In a folder with
that bit new folders are 2770 and new files 0660; in any other they are 0700 and 0600. The umask has no effect on them.
Files that jobs write keep the umask of the user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from rekindle.domain.errors import BadValue, Refused

VARIABLE = "REKINDLE_SHARED"

PRIVATE = 0o700
SHARED = 0o2770

_FILE = 0o666
_OTHERS = 0o077


def shared_asked(environment: Mapping[str, str]) -> bool:
    """Return whether $REKINDLE_SHARED asks for a store that a group shares. BadValue unless it is `group` or empty."""
    asked = environment.get(VARIABLE, "")
    if asked not in ("", "group"):
        raise BadValue(f"{VARIABLE} is {asked!r}", hint=f"{VARIABLE}=group shares a new store with the folder's group")
    return asked == "group"


def is_shared(folder: str | os.PathLike[str]) -> bool:
    """Return whether a group shares what is in a folder of a store."""
    return bool(os.stat(folder).st_mode & stat.S_ISGID)


def is_open_to_others(folder: str | os.PathLike[str]) -> bool:
    """Return whether this user owns a folder that other users may enter or read."""
    found = os.stat(folder)
    return found.st_uid == os.geteuid() and bool(found.st_mode & _OTHERS)


def is_writable_by_group(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder is set up for a group that works in it: setgid, and the group may write."""
    return os.stat(folder).st_mode & SHARED == SHARED


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder in a store, and its parents, where they do not exist."""
    path = os.fspath(path)
    try:
        mode = SHARED if is_shared(os.path.dirname(path) or ".") else PRIVATE
    except FileNotFoundError:
        make_folder(os.path.dirname(path))
        make_folder(path)
        return
    try:
        os.mkdir(path, mode & PRIVATE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    else:
        set_mode(path, mode)


def file_mode(folder: str | os.PathLike[str]) -> int:
    """Return the mode of the files in a folder of a store."""
    return (SHARED if is_shared(folder) else PRIVATE) & _FILE


def open_file(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file in a store, made if it does not exist, and return its descriptor. `flags`: as of os.open."""
    mode = file_mode(os.path.dirname(path) or ".")
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, mode & PRIVATE)
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        set_mode(fd, mode)
    return fd


def write_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a file in a store, in place of the one that is there."""
    with open(open_file(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
        file.write(text)


def set_mode(path: str | int, mode: int) -> None:
    """Set a mode as far as that is possible: another user's file, and file systems without modes, stay as they are."""
    with contextlib.suppress(OSError):
        os.chmod(path, mode)


def set_modes(folder: Path, *, shared: bool) -> None:
    """Make an existing store private, or share it. What jobs wrote in the folders of attempts keeps its mode."""
    mode = SHARED if shared else PRIVATE
    set_mode(str(folder), mode)
    for root, folders, files in os.walk(folder):
        for name in folders:
            set_mode(f"{root}/{name}", mode)
        for name in files:
            if not os.path.islink(f"{root}/{name}"):
                set_mode(f"{root}/{name}", mode & _FILE)
        depth = len(Path(root).relative_to(folder).parts)
        if depth in _OF_ATTEMPTS and Path(root).relative_to(folder).parts[0] == "attempts":
            folders[:] = [name for name in folders if name.endswith(".subtasks")]


_OF_ATTEMPTS = (3, 6)
"""The depths of the folders in which those of attempts and of subtasks are: attempts/0000/00 and
attempts/0000/00/7.subtasks/0/00."""


def working_directory() -> Path:
    """Return the working directory. Refused when it does not exist any more."""
    try:
        return Path.cwd()
    except OSError:
        folder = f" {known}" if (known := os.environ.get("PWD")) else ""
        hint = "change to another folder: cd /some/project"
        raise Refused(f"the working directory{folder} does not exist any more", hint=hint) from None
