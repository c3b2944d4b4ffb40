"""Attempts' folders, and the files in which steps report: result, verdict and action.

A folder exists while its attempt runs and is removed if it is empty at the end. On a journaling file system, making and
removing a directory costs some 80 µs, and moving an empty one 8 µs. So a worker keeps a spare folder and moves it to
where an attempt needs it. If it was never used, it is moved on to the next attempt, or back when there is none. The
spare's modification time is set to a moment of 1970; any change in it moves that time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rekindle.domain.actions import BadAction, action_document, apply_change, read_action
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Failure
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import BadVerdict, Verdict, read_verdict
from rekindle.files.store_files import NotARegularFile, kind_at, make_folder, move_out_of_way, open_regular_file
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.paths import is_among_attempts
from rekindle.worker.attempt_environment import ACTION_NAME, RESULT_NAME, VERDICT_NAME, AttemptEnvironment

if TYPE_CHECKING:
    from rekindle.worker.reporter import DiskRetry
    from rekindle.worker.steps import StepEnd

MAX_RESULT = 16 * 1024 * 1024
"""The largest result that is accepted, in bytes."""

MAX_DEPTH = 200
"""Levels of arrays and objects in a JSON value that is accepted: each reader needs stack for each level."""

_UNUSED_NS = 1_970_019_700_197
"""The modification time of a folder in which nothing was ever made: not a whole second, which an archive may give to
the folder that it is unpacked to."""

_IN_USE = (errno.ENOTEMPTY, errno.EEXIST)
_ELSEWHERE = (errno.EXDEV, errno.EPERM, errno.EACCES)


class AttemptFolders:
    """Makes and removes attempts' folders. `spare` is the path of the spare folder, on the same file system."""

    def __init__(self, spare: str, storage: DiskRetry) -> None:
        self._spare = self._at = spare  # the spare's own path, and where it is
        self.storage = storage
        self._mode = 0  # of the spare; 0: there is none
        self._unused = (0, 0)  # the mode and modification time of a folder that was made here and never used

    def make(self, folder: str) -> None:
        """Make a folder. A folder that exists and is not empty is used as it is. Raise OSError if it cannot be made;
        a failing disk is waited for."""
        self.storage.retry(lambda: self._make(folder))

    def _make(self, folder: str) -> None:
        if not self._mode:
            self._new_spare()
        try:
            os.rename(self._at, folder)
        except FileNotFoundError:
            if not os.path.exists(self._at):  # removed by a step, unless the store is gone
                self._mode = 0
                self._new_spare()
            make_folder(os.path.dirname(folder))
            os.rename(self._at, folder)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                make_folder(folder)
            elif error.errno not in _IN_USE:
                raise
            return
        self._mode = 0

    def clear(self, folder: str, left_nothing: bool, *, unused: bool = False) -> None:
        """Remove an ended attempt's folder if it is empty, at the latest with the next `make` or `take_back`.
        `left_nothing`: none of its processes is left; `unused`: `is_unused` has said so since the last one ended."""
        with contextlib.suppress(OSError):  # an empty folder that cannot be removed does no harm
            if left_nothing and not self._mode and (unused or self.is_unused(folder)):
                self._at, self._mode = folder, self._unused[0]
            else:
                os.rmdir(folder)

    def take_back(self) -> None:
        """Move the spare to its own path. To be called before the end of its last attempt is written, if no attempt
        follows."""
        if self._mode and self._at != self._spare:
            with contextlib.suppress(OSError):
                os.rename(self._at, self._spare)
                self._at = self._spare
                return
            self._mode = 0

    def is_unused(self, folder: str) -> bool:
        """Return whether a folder that `make` has made is in its place, and nothing was ever made in it."""
        try:
            found = os.lstat(folder)
        except OSError:
            return False
        return (found.st_mode, found.st_mtime_ns) == self._unused

    def _new_spare(self) -> None:
        if kind_at(self._spare) not in (None, "a directory"):
            move_out_of_way(self._spare)
        if not self.storage.gone:
            make_folder(self._spare)
        self._at = self._spare
        os.utime(self._spare, ns=(_UNUSED_NS, _UNUSED_NS))
        found = os.stat(self._spare)
        self._mode, self._unused = found.st_mode, (found.st_mode, found.st_mtime_ns)


class BadFolder(BadValue):
    """An attempt's own folder was replaced by something else."""


class BadResult(BadValue):
    """A result that cannot be read."""


def check_folder(report_prefix: str) -> None:
    """Raise BadFolder if a step has replaced its own folder, or a folder above. A removed folder is no error. See
    Assignment.report_prefix."""
    at = folder = os.path.dirname(report_prefix)
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            return
    while (found := kind_at(at)) is None:
        at = os.path.dirname(at)
    if found == "a directory":
        return
    if is_among_attempts(at, report_prefix):
        move_out_of_way(at)  # the next attempt or subtask needs the place
    if at == folder:
        raise BadFolder(f"its own folder, {at}, is {found}, not a directory")
    raise BadFolder(f"{at}, a folder above its own, is {found}, not a directory")


def take_result(report_prefix: str) -> str | None:
    """Return the JSON in $REKINDLE_RESULT and remove the file; None if nothing was written. Raise BadResult if it is
    not acceptable."""
    text = _take(f"{report_prefix}{RESULT_NAME}", "$REKINDLE_RESULT", BadResult)
    if text is not None:
        json_value(text, "$REKINDLE_RESULT", BadResult, "write one JSON value")
    return text


def take_action(report_prefix: str) -> Any:
    """Return the JSON value in $REKINDLE_ACTION and remove the file; None if nothing was written. Raise BadAction if
    it is not acceptable."""
    text = _take(f"{report_prefix}{ACTION_NAME}", "$REKINDLE_ACTION", BadAction)
    return None if text is None else json_value(text, "$REKINDLE_ACTION", BadAction, "write one JSON object")


def take_verdict(report_prefix: str) -> str | None:
    """Return the text in $REKINDLE_VERDICT and remove the file; None if nothing was written. Raise BadVerdict if it
    is not acceptable."""
    return _take(f"{report_prefix}{VERDICT_NAME}", "$REKINDLE_VERDICT", BadVerdict)


def json_value(text: str, of: str, wrong: type[BadValue], hint: str = "") -> Any:
    """Decode a JSON text. Raise `wrong`, with the text's name `of`, if this is not possible."""
    try:
        value = from_json(text)
        deep = _is_deep(value)
    except msgspec.DecodeError as error:
        raise wrong(f"{of} is not JSON: {error}", hint=hint) from error
    except RecursionError:
        deep = True
    if deep:
        raise wrong(f"{of} is nested more than {MAX_DEPTH} levels deep")
    return value


def _is_deep(value: Any) -> bool:
    """Return whether a JSON value has more than MAX_DEPTH levels."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def _take(path: str, variable: str, wrong: type[BadValue]) -> str | None:
    try:
        with open_regular_file(path) as file:
            content = file.read(MAX_RESULT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotARegularFile as error:
        move_out_of_way(path)
        raise wrong(f"{variable} {error.strerror}") from error
    except OSError as error:
        raise wrong(f"{variable} cannot be read: {error.strerror}") from error
    with contextlib.suppress(OSError):  # the file stays; it is not read again
        os.unlink(path)
    if len(content) > MAX_RESULT:
        raise wrong(f"{variable} is larger than 16 MiB", hint="write large data to a file, and its path here")
    try:
        return content.decode().strip() or None
    except UnicodeDecodeError as error:
        raise wrong(f"{variable} is not UTF-8: {error}") from error


class StepReports(NamedTuple):
    """The reports of a command. `problem`: the first one that cannot be taken."""

    result: str | None = None  # JSON text
    verdict: Verdict | None = None
    action: str | None = None  # JSON text
    problem: BadValue | None = None


def take_reports(report_prefix: str) -> StepReports:
    """Return the reports of a command and remove their files. See Assignment.report_prefix."""
    try:
        check_folder(report_prefix)
    except BadValue as error:
        return StepReports(problem=error)
    found: dict[str, Any] = {}
    problem: BadValue | None = None
    for name, take in _TAKES.items():
        try:
            found[name] = take(report_prefix)
        except BadValue as error:
            problem = problem or error
    return StepReports(**found, problem=problem)


def _verdict(report_prefix: str) -> Verdict | None:
    text = take_verdict(report_prefix)
    return None if text is None else read_verdict(text)


def _action(report_prefix: str) -> str | None:
    value = take_action(report_prefix)
    document = None if value is None else action_document(read_action(value))
    return to_json(document).decode() if document else None


_TAKES: dict[str, Callable[[str], Any]] = {"result": take_result, "verdict": _verdict, "action": _action}


def apply_action(end: StepEnd, env: AttemptEnvironment) -> tuple[StepEnd, bool]:
    """Apply a completed step's action: later steps see the parameters that it set. Return the step's end (a failure
    if they cannot be set) and whether the attempt ends here."""
    if end.action is None or not end.completed:
        return end, False
    action = read_action(from_json(end.action))
    try:
        env.scope["params"] = apply_change(env.scope["params"], action.set)
    except BadAction as error:
        return reject_end(end, error), False
    return end, action.exit


def check_in_place(end: StepEnd, report_prefix: str) -> StepEnd:
    """Return the end of a step: a failure if the step has replaced its own folder."""
    try:
        check_folder(report_prefix)
    except BadFolder as error:
        return reject_end(end, error)
    return end


def reject_end(end: StepEnd, error: BadValue | None, stderr: str = "") -> StepEnd:
    """Return the end of a step whose reports cannot be taken: a failure, unless it failed already. Without `error`,
    the end is unchanged."""
    if error is None or not end.completed:
        return end
    failure = Failure(type(error).__name__, str(error), stderr=stderr)
    return msgspec.structs.replace(
        end, state=State.FAILED, cause=Cause.EXCEPTION, failure=failure, action=None, verdict=None
    )
