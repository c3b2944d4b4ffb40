"""Files of a store: permissions, and safe opening of files in places that jobs can write to.

A store is closed to other users or shared with a group. The setgid bit of the store's folder is the setting, and the
kernel hands it on to each new folder. In a folder with that bit, new folders are 2770 and new files 0660; in any other,
they are 0700 and 0600. The umask has no effect on them. Files that jobs write keep the user's umask; outputs moved or
copied to a store get its modes until they are restored.

A job may have put anything in the place of a file: a FIFO, on which a plain open waits forever, an endless device, a
link to another user's file. So only regular files are opened, without waiting."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from rekindle.domain.errors import BadValue, Refused, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

SHARED_VARIABLE = "REKINDLE_SHARED"
DURABILITY_VARIABLE = "REKINDLE_DURABILITY"
CACHE_SIZE_VARIABLE = "REKINDLE_CACHE_SIZE"

_DEFAULT_CACHE_SIZE = 10 << 30  # bytes

DATABASE_FILE = "database"
"""The file in a store's folder with the URL of the store's rows, if they are in another place."""

IGNORE_FILE = ".gitignore"
"""The file in a store's folder that keeps git away from it."""

PRIVATE = 0o700
SHARED = 0o2770

_FILE = 0o666
_OTHERS = 0o077


def shared_requested(environment: Mapping[str, str]) -> bool:
    """Return whether $REKINDLE_SHARED asks for a store that a group shares. BadValue unless it is `group` or empty."""
    asked = environment.get(SHARED_VARIABLE, "")
    if asked not in ("", "group"):
        raise BadValue(
            f"{SHARED_VARIABLE} is {asked!r}",
            hint=f"{SHARED_VARIABLE}=group shares a new store with the folder's group",
        )
    return asked == "group"


def is_fully_durable(environment: Mapping[str, str]) -> bool:
    """Return whether REKINDLE_DURABILITY is `full`. Raise BadValue unless it is `normal` (the default) or `full`."""
    asked = environment.get(DURABILITY_VARIABLE) or "normal"
    if asked not in ("normal", "full"):
        raise BadValue(f"{DURABILITY_VARIABLE} is {asked!r}", hint="it is normal or full")
    return asked == "full"


def cache_limit(environment: Mapping[str, str]) -> int:
    """Return the bytes that the content store may hold: $REKINDLE_CACHE_SIZE. Raise BadValue for a text that is no
    size."""
    asked = environment.get(CACHE_SIZE_VARIABLE)
    if not asked:
        return _DEFAULT_CACHE_SIZE
    from rekindle.domain.texts.quantities import parse_size  # lazy: short commands do not need it

    try:
        return parse_size(asked)
    except BadValue as error:
        raise BadValue(f"{CACHE_SIZE_VARIABLE} is {asked!r}", hint=f"{CACHE_SIZE_VARIABLE}=20G") from error


def database_of(folder: Path) -> str | None:
    """Return the URL of the store whose spool a folder is; None if it is not one."""
    try:
        return (folder / DATABASE_FILE).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(
            f"the store {folder} cannot be reached: {error.strerror}", hint="check who may enter its folders"
        ) from error


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
        mode = folder_mode(os.path.dirname(path) or ".")
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


def folder_mode(folder: str | os.PathLike[str]) -> int:
    """Return the mode of the folders in a folder of a store."""
    return SHARED if is_shared(folder) else PRIVATE


def file_mode(folder: str | os.PathLike[str]) -> int:
    """Return the mode of the files in a folder of a store."""
    return folder_mode(folder) & _FILE


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


def replace_file(path: Path, content: bytes) -> None:
    """Write a file of a user as a whole: a reader finds the earlier content or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def set_mode(path: str | int, mode: int) -> None:
    """Set a mode if possible; another user's file and file systems without modes are left alone."""
    with contextlib.suppress(OSError):
        os.chmod(path, mode)


def set_modes(folder: Path, *, shared: bool) -> None:
    """Make an existing store private, or share it. What jobs wrote in the folders of attempts keeps its mode."""
    mode = SHARED if shared else PRIVATE
    for root, folders in _set_each(str(folder), mode):
        parts = os.path.relpath(root, folder).split("/")
        if len(parts) in _OF_ATTEMPTS and parts[0] == "attempts":
            for name in folders:
                if name.endswith(".outputs"):
                    set_tree(f"{root}/{name}", mode)
                elif name.endswith(".partial"):
                    _set_partial(f"{root}/{name}", mode)
            folders[:] = [name for name in folders if name.endswith(".subtasks")]


def set_tree(folder: str, mode: int) -> None:
    """Set the mode of a folder and of all folders in it; the files get that mode without the bits to execute them."""
    for _ in _set_each(folder, mode):
        pass


def _set_each(folder: str, mode: int) -> Iterator[tuple[str, list[str]]]:
    """Set modes from a folder on downwards; yield each folder with the names of its subfolders, which it then
    visits."""
    set_mode(folder, mode)
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            if not os.path.islink(f"{root}/{name}"):
                set_mode(f"{root}/{name}", mode if name in folders else mode & _FILE)
        yield root, folders


def _set_partial(folder: str, mode: int) -> None:
    """Set the modes of a folder with partial outputs, which record their own modes."""
    set_mode(folder, mode)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            set_mode(entry.path, mode)
            set_mode(f"{entry.path}/{_KEPT}", mode & _FILE)
            at = os.open(entry.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for name in os.listdir(entry.path):
                    apply_modes(at, name)
            finally:
                os.close(at)


def apply_modes(at: int, name: str) -> None:
    """Give a file or folder that was moved to the open folder `at` the modes of the store, if possible, and record
    its own modes and groups for `restore_modes`. Files with several names keep theirs."""
    if name == _KEPT:
        return
    path, shared = f"/proc/self/fd/{at}/{_KEPT}", bool(os.fstat(at).st_mode & stat.S_ISGID)
    mode, group = (SHARED, os.fstat(at).st_gid) if shared else (PRIVATE, -1)
    with contextlib.suppress(OSError, RecursionError):
        if not os.path.lexists(path):
            own = {inner: (stat.S_IMODE(one.st_mode), one.st_gid) for inner, _, one in _below(at, name)}
            import json

            write_file(f"{path}.new", json.dumps(own))
            os.rename(f"{path}.new", path)
        for _, fd, one in _below(at, name):
            _change(fd, mode if stat.S_ISDIR(one.st_mode) else mode & _FILE, group)


def restore_modes(at: int, target: int, name: str) -> None:
    """Restore the modes of a file or folder from before `apply_modes`, if possible: it was moved from the open
    folder `at` to `name` in `target`."""
    path = f"/proc/self/fd/{at}/{_KEPT}"
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with open(path, encoding="utf-8") as kept:
            import json

            own = json.load(kept)
        for inner, fd, _ in _below(target, name):
            if inner in own:
                _change(fd, *own[inner])
        os.unlink(path)


_KEPT = ".modes"  # the file with the modes, beside what was moved


def _below(at: int, name: str) -> Iterator[tuple[str, int, os.stat_result]]:
    """Yield a file or folder in an open folder, and its content: the path below it, a descriptor (O_PATH) and its
    status. Links and files with several names are skipped."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        found = os.fstat(fd)
        is_folder = stat.S_ISDIR(found.st_mode)
        if is_folder or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
            yield "", fd, found
        if is_folder:
            for inner in os.listdir(f"/proc/self/fd/{fd}"):
                for path, one, status in _below(fd, inner):
                    yield f"/{inner}{path}", one, status
    except PermissionError:
        pass  # another user's
    finally:
        os.close(fd)


def _change(fd: int, mode: int, group: int) -> None:
    """Set the group and the mode of an open file (O_PATH), if possible."""
    path = f"/proc/self/fd/{fd}"
    with contextlib.suppress(OSError):
        os.chown(path, -1, group)
    set_mode(path, mode)


_OF_ATTEMPTS = (3, 6)
"""The depths of the folders that contain attempts' and subtasks' folders: attempts/0000/00 and
attempts/0000/00/7.subtasks/0/00."""


def working_directory() -> Path:
    """Return the working directory. Raise Refused if it does not exist any more."""
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError:
        folder = f" {known}" if (known := os.environ.get("PWD")) else ""
        hint = "change to another folder: cd /some/project"
        raise Refused(f"the working directory{folder} does not exist any more", hint=hint) from None


_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


class NotARegularFile(OSError):
    """Not a regular file; `strerror` names its kind: "is a FIFO, not a file"."""


def open_regular_file(path: str) -> BinaryIO:
    """Open a regular file for reading. Raise FileNotFoundError if it does not exist, NotARegularFile or another
    OSError if it cannot be read."""
    _check(os.lstat(path), path)  # before opening: opening a device may have an effect
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(os.fstat(fd), path)
    except OSError:
        os.close(fd)
        raise
    return open(fd, "rb")


def open_store_file(path: str, flags: int) -> int:
    """Open or create one of rekindle's own files in a store with `flags`; remove anything else at its path."""
    if kind_at(path) not in (None, "a file"):
        move_out_of_way(path)
    return open_file(path, flags | _FLAGS)


def kind_at(path: str) -> str | None:
    """Return the kind of file at a path, symbolic links not followed: "a FIFO"; None if there is none."""
    try:
        return kind_name(os.lstat(path).st_mode)
    except OSError:
        return None


def kind_name(mode: int) -> str:
    """Return the kind of a file: "a FIFO"."""
    return _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


def move_out_of_way(path: str) -> None:
    """Free a path if possible. A folder or file is renamed to `PATH.aside`; anything else is removed."""
    with contextlib.suppress(OSError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            number, place = 1, f"{path}.aside"
            while os.path.lexists(place):
                number, place = number + 1, f"{path}.aside{number + 1}"
            os.rename(path, place)
        else:
            os.unlink(path)


def _check(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotARegularFile(errno.EINVAL, f"is {kind_name(found.st_mode)}, not a file", path)
