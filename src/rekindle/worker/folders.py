"""Attempts' own folders: there while an attempt runs, gone again when nothing was left in them.

Making and removing a directory costs a journalling file system some 80 µs, moving an empty one 8 µs. So a worker has
one spare folder, moves it to where an attempt needs it, and takes it back when nothing was ever put in. The spare's
modification time is set to 1970: whatever is made or removed in it moves that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any

import msgspec

from rekindle.domain.actions import BadAction
from rekindle.domain.errors import BadValue
from rekindle.domain.verdicts import BadVerdict
from rekindle.files.leaves import NotAFile, found_at, open_leaf, set_aside
from rekindle.files.modes import make_folder
from rekindle.journal.encoding import from_json
from rekindle.journal.places import is_among_attempts
from rekindle.worker.frame import ACTION_NAME, RESULT_NAME, VERDICT_NAME
from rekindle.worker.patience import Storage

MOST_RESULT = 16 * 1024 * 1024
"""Bytes of a result that are taken."""

DEEPEST = 200
"""Levels of arrays and objects in a JSON value that is taken: each reader needs some stack for each level."""

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
            if not os.path.exists(self._spare):  # a step has removed it, unless the store is gone
                self._mode = 0
                self._new_spare()
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
        with contextlib.suppress(OSError):  # an empty folder that cannot be removed does no harm
            found = os.lstat(folder)
            if quiet and found.st_mtime_ns == 0 and not self._mode and found.st_mode == self._usual:
                os.rename(folder, self._spare)
                self._mode = found.st_mode
            else:
                os.rmdir(folder)

    def _new_spare(self) -> None:
        if found_at(self._spare) not in (None, "a directory"):
            set_aside(self._spare)
        if not self.storage.gone:
            make_folder(self._spare)
        os.utime(self._spare, (0, 0))
        self._mode = self._usual = os.stat(self._spare).st_mode


class BadFolder(BadValue):
    """An attempt's own folder is not there any more, and something else is in its place."""


class BadResult(BadValue):
    """A result that cannot be read."""


def check_folder(leaves: str) -> None:
    """Raise BadFolder if a step has put something else in the place of its own folder, or of a folder above that. A
    folder that was removed is no error. `leaves`: see Assignment.leaves."""
    at = folder = os.path.dirname(leaves)
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            return
    while (found := found_at(at)) is None:
        at = os.path.dirname(at)
    if found == "a directory":
        return
    if is_among_attempts(at, leaves):
        set_aside(at)  # the next attempt or subtask needs the place
    if at == folder:
        raise BadFolder(f"its own folder, {at}, is {found}, not a directory")
    raise BadFolder(f"{at}, a folder above its own, is {found}, not a directory")


def take_result(leaves: str) -> str | None:
    """Return the JSON that was written to $REKINDLE_RESULT, and remove it; None: nothing was written. BadResult when
    it cannot be taken."""
    text = _take(f"{leaves}{RESULT_NAME}", "$REKINDLE_RESULT", BadResult)
    if text is not None:
        json_value(text, "$REKINDLE_RESULT", BadResult, "write one JSON value")
    return text


def take_action(leaves: str) -> Any:
    """Return the value of the JSON that was written to $REKINDLE_ACTION, in the same way. BadAction when it cannot be
    taken."""
    text = _take(f"{leaves}{ACTION_NAME}", "$REKINDLE_ACTION", BadAction)
    return None if text is None else json_value(text, "$REKINDLE_ACTION", BadAction, "write one JSON object")


def take_verdict(leaves: str) -> str | None:
    """Return what was written to $REKINDLE_VERDICT, in the same way. BadVerdict when it cannot be taken."""
    return _take(f"{leaves}{VERDICT_NAME}", "$REKINDLE_VERDICT", BadVerdict)


def json_value(text: str, of: str, wrong: type[BadValue], hint: str = "") -> Any:
    """Decode a JSON text; `wrong` is raised when that is not possible, and names it as `of`."""
    try:
        value = from_json(text)
        deep = _is_deep(value)
    except msgspec.DecodeError as error:
        raise wrong(f"{of} is not JSON: {error}", hint=hint) from error
    except RecursionError:
        deep = True
    if deep:
        raise wrong(f"{of} is nested more than {DEEPEST} levels deep")
    return value


def _is_deep(value: Any) -> bool:
    """Whether a JSON value has more than DEEPEST levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def _take(path: str, variable: str, wrong: type[BadValue]) -> str | None:
    try:
        with open_leaf(path) as file:
            content = file.read(MOST_RESULT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotAFile as error:
        set_aside(path)
        raise wrong(f"{variable} {error.strerror}") from error
    except OSError as error:
        raise wrong(f"{variable} cannot be read: {error.strerror}") from error
    with contextlib.suppress(OSError):  # then it stays; nobody looks at it again
        os.unlink(path)
    if len(content) > MOST_RESULT:
        raise wrong(f"{variable} is larger than 16 MiB", hint="write large data to a file, and its path here")
    try:
        return content.decode().strip() or None
    except UnicodeDecodeError as error:
        raise wrong(f"{variable} is not UTF-8: {error}") from error
