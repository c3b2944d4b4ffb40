"""Attempts' own folders: there while an attempt runs, gone again when nothing was left in them.

Making and removing a directory costs a journalling file system some 80 µs, moving an empty one 8 µs. So a worker has
one spare folder, moves it to where an attempt needs it, and takes it back when nothing was ever put in. The spare's
modification time is set to 1970: whatever is made or removed in it moves that.
"""

from __future__ import annotations

import contextlib
import errno
import os

from rekindle.domain.errors import BadValue
from rekindle.files.modes import make_folder
from rekindle.worker.frame import ACTION_NAME, RESULT_NAME, VERDICT_NAME
from rekindle.worker.patience import FAILING, Storage

MOST_RESULT = 16 * 1024 * 1024
"""Bytes of a result that are taken."""

_IN_USE = (errno.ENOTEMPTY, errno.EEXIST)
_ELSEWHERE = (errno.EXDEV, errno.EPERM, errno.EACCES)


class Folders:
    """Makes and clears attempts' folders. `spare` is the path of the one at hand, on the same file system."""

    def __init__(self, spare: str, storage: Storage) -> None:
        self._spare, self.storage = spare, storage
        self._mode = 0  # of the spare; 0: there is none

    def make(self, folder: str) -> None:
        """Put a folder there. One that holds files already is taken as it is. OSError when it cannot be made, and not
        for want of room or the like: that is waited for."""
        self.storage.insist(lambda: self._make(folder))

    def _make(self, folder: str) -> None:
        if not self._mode:
            self._new_spare()
        try:
            os.rename(self._spare, folder)
        except FileNotFoundError:
            if not os.path.exists(self._spare):  # the store is gone: nothing of it is made anew
                raise
            make_folder(os.path.dirname(folder))
            os.rename(self._spare, folder)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                make_folder(folder)
            elif error.errno not in _IN_USE:
                raise
            return
        self._mode = 0

    def clear(self, folder: str, quiet: bool) -> None:
        """An attempt has ended: remove its folder if it is empty. `quiet`: no process of it is left."""
        try:
            found = os.stat(folder)
            if quiet and found.st_mtime_ns == 0 and not self._mode and found.st_mode == self._usual:
                os.rename(folder, self._spare)
                self._mode = found.st_mode
            else:
                os.rmdir(folder)
        except OSError as error:
            if error.errno not in (*_IN_USE, errno.ENOENT, *_ELSEWHERE, *FAILING):
                raise  # an empty folder that cannot be removed does no harm

    def _new_spare(self) -> None:
        make_folder(self._spare)
        os.utime(self._spare, (0, 0))
        self._mode = self._usual = os.stat(self._spare).st_mode


def take_result(leaves: str) -> str | None:
    """What was written to $REKINDLE_RESULT, and remove it; None: nothing was. BadValue when it is too long or not
    UTF-8. `leaves`: see Assignment.leaves."""
    return _take(f"{leaves}{RESULT_NAME}", "$REKINDLE_RESULT")


def take_action(leaves: str) -> str | None:
    """What was written to $REKINDLE_ACTION, and remove it, in the same way."""
    return _take(f"{leaves}{ACTION_NAME}", "$REKINDLE_ACTION")


def take_verdict(leaves: str) -> str | None:
    """What was written to $REKINDLE_VERDICT, and remove it, in the same way."""
    return _take(f"{leaves}{VERDICT_NAME}", "$REKINDLE_VERDICT")


def _take(path: str, variable: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise BadValue(f"{variable} cannot be read: {error.strerror}") from error
    with open(fd, "rb") as file:
        content = file.read(MOST_RESULT + 1)
    with contextlib.suppress(OSError):  # then it stays; nobody looks at it again
        os.unlink(path)
    if len(content) > MOST_RESULT:
        raise BadValue(f"{variable} is larger than 16 MiB", hint="write large data to a file, and its path here")
    try:
        return content.decode().strip() or None
    except UnicodeDecodeError as error:
        raise BadValue(f"{variable} is not UTF-8: {error}") from error
