"""Declared outputs, saved with the attempt that made them before a rerun writes over them, and put back by undo.

Both are done in two parts: what takes long (copying) before the transaction, what must go together with it (renaming)
within it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from blake3 import blake3

from rekindle.domain.errors import Refused, UndoRefused
from rekindle.domain.rerunning.rerun import PlannedJob, RerunPlan, SavedFile
from rekindle.files.modes import folder_mode, make_folder, set_tree
from rekindle.journal.beneath import below, by_descriptor, kind, open_folder, parent_of, take_name
from rekindle.journal.copies import copy_file, copy_tree, files_of, remove_tree, size_of
from rekindle.journal.places import attempt_folder, saved_outputs

Tell = Callable[[int, int], None]
"""Told (bytes copied, bytes in all)."""


@dataclass(slots=True)
class Saving:
    """Outputs that have been copied, and are in their place once `commit` is called."""

    files: dict[int, tuple[SavedFile, ...]] = field(default_factory=dict)  # by job
    places: list[str] = field(default_factory=list)  # folders, whose content is still in `_part` of each
    placed: list[str] = field(default_factory=list)  # those whose content is there

    def commit(self) -> None:
        """Put every copy in its place; one that an undone rerun has left there goes. Refused when that cannot be."""
        try:
            while self.places:
                place = self.places[-1]
                remove_tree(place)
                if Path(_part(place)).exists():  # there was something to save
                    Path(_part(place)).rename(place)
                    self.placed.append(place)
                self.places.pop()
        except OSError as error:
            raise Refused(
                f"nothing is changed: saved outputs cannot be put into {place}: {error.strerror or error}",
                hint="check the store's disk, or leave out --keep-outputs",
            ) from error


@contextlib.contextmanager
def saving(store_folder: str, plan: RerunPlan, directories: Mapping[int, str], tell: Tell | None) -> Iterator[Saving]:
    """Copy the outputs that a plan saves; `directories`: by job, the folder of its workflow. Refused, with nothing left
    behind, when one cannot be copied; nothing is left either when the block fails, even after its `commit`, or does not
    call that."""
    jobs = [job for job in plan.jobs if job.manner.saves and job.archives]
    found = Saving()
    try:
        count = _Count(sum(_size(path) for job in jobs for path in job.manner.saves), tell)
        for job in jobs:
            place = saved_outputs(attempt_folder(store_folder, job.archives[0]))
            found.places.append(place)
            found.files[job.id] = _save(job, directories[job.id], place, count)
        yield found
    except BaseException:  # an interruption too: nothing that was not committed is left behind
        for place in found.placed:
            remove_tree(place)
        raise
    finally:
        for place in found.places:
            remove_tree(_part(place))


def root_of(path: str, job: PlannedJob, directory: str) -> str | None:
    """Return the folder in which a job may write the output `path`: the attempt's, or the workflow's `directory`. None
    if the output lies outside of both."""
    own = (job.manner.folder,) if job.manner.take == "same" and job.manner.folder else ()
    return next((root for root in (*own, directory) if below(root, path) is not None), None)


@dataclass(slots=True)
class _Count:
    """Counts bytes, and tells."""

    whole: int
    tell: Tell | None
    done: int = 0

    def __call__(self, copied: int) -> None:
        self.done += copied
        if self.tell is not None:
            self.tell(self.done, self.whole)


def _part(place: str) -> str:
    return f"{place}.part"


def _size(path: str) -> int:
    try:
        return size_of(path)
    except OSError:  # it is gone, or cannot be read: saving it will tell
        return 0


def _save(job: PlannedJob, directory: str, place: str, count: _Count) -> tuple[SavedFile, ...]:
    """Copy a job's outputs; the first to a folder 0, the second to 1, …, each under its own name."""
    remove_tree(_part(place))
    saved: list[SavedFile] = []
    for at, path in enumerate(job.manner.saves):
        name = f"{at}/{Path(path).name or 'output'}"
        target = f"{_part(place)}/{name}"
        try:
            if _copy_output(root_of(path, job, directory) or str(Path(path).parent), path, target, count):
                saved += [_described(one, path, target, f"{place}/{name}") for one in files_of(target)]
        except OSError as error:
            link = f"{error.filename} is a symbolic link" if error.errno == errno.ELOOP else None
            raise Refused(
                f"nothing is changed: the output {path} of {job.name} cannot be saved: "
                f"{link or error.strerror or error}",
                hint="leave out --keep-outputs" if link else "make room for it, or leave out --keep-outputs",
            ) from error
    if saved:
        set_tree(Path(_part(place)), folder_mode(Path(place).parent))
    return tuple(saved)


def _copy_output(root: str, path: str, target: str, count: _Count) -> bool:
    """Copy a file, a folder or a symbolic link to `target`, following no link below `root`; whether there is one. What
    is nothing of these (a FIFO, a socket, a device) cannot be copied."""
    try:
        with parent_of(root, path) as (at, name):
            mode = kind(at, name) or 0
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
                return False
            make_folder(Path(target).parent)
            if not stat.S_ISDIR(mode):
                copy_file(by_descriptor(at, name), target, count)
                return True
            folder = open_folder(at, name, path)
    except (FileNotFoundError, NotADirectoryError):  # gone since the plan was made
        return False
    try:
        copy_tree(by_descriptor(folder), target, count)
    finally:
        os.close(folder)
    return True


def _described(copy: str, path: str, target: str, kept: str) -> SavedFile:
    behind = copy.removeprefix(target)
    found = os.lstat(copy)
    mode = None if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)
    return SavedFile(path + behind, kept + behind, _digest(copy), found.st_size, found.st_mtime_ns, mode)


def _digest(path: str) -> str:
    """Return the digest of a regular file, or of the target of a symbolic link."""
    if Path(path).is_symlink():
        return blake3(os.fsencode(Path(path).readlink())).hexdigest()
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.hexdigest()


@contextlib.contextmanager
def restoring(saved: Sequence[tuple[SavedFile, str | None]]) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Copy the saved files that are gone beside their places. The block is given the function that puts them there and
    returns their paths. Each file comes with the folder below which it may be written, see `root_of`.

    UndoRefused, naming every file, when another file or a symbolic link is in the way, a copy is gone, or a file lies
    outside the project; nothing has been changed then. When the block fails, everything is removed that was put there.
    """
    back = _PutBack()
    try:
        back.copy(saved)
        yield back.put
    except BaseException as error:  # an interruption too
        back.take_away()
        if not isinstance(error, OSError):
            raise
        raise UndoRefused(
            f"a saved output cannot be put back: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            hint="nothing was undone; mend that and try again",
        ) from error
    finally:
        back.remove_drafts()


@dataclass(slots=True)
class _PutBack:
    """Saved files on the way to their places. Nothing is ever replaced: a place that is taken refuses the undo."""

    drafts: list[tuple[str, str]] = field(default_factory=list)  # (root, path of the output), copied and not yet there
    there: list[tuple[str, str, int]] = field(default_factory=list)  # (root, path, inode), put there
    folders: list[tuple[str, str]] = field(default_factory=list)  # (root, path), made on the way

    def copy(self, saved: Sequence[tuple[SavedFile, str | None]]) -> None:
        """Check every file, then copy those that are gone to drafts beside their places."""
        gone, problems = [], []
        for one, root in saved:
            problem = _problem(one, root)
            if problem is None and root is not None:
                gone.append((one, root))
            elif problem:
                problems.append(problem)
        if problems:
            raise _refusal(problems)
        for one, root in gone:
            self._copy(one, root)

    def _copy(self, one: SavedFile, root: str) -> None:
        made: list[str] = []
        try:
            with parent_of(root, one.path, made) as (at, name):
                self.drafts.append((root, one.path))
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_draft(name), dir_fd=at)  # of an undo that was killed
                copy_file(one.kept, by_descriptor(at, _draft(name)), lambda _: None)
                if one.mode is not None:
                    Path(by_descriptor(at, _draft(name))).chmod(one.mode)
                changed = _digest(by_descriptor(at, _draft(name))) != one.digest
        except OSError as error:
            if str(error.filename).startswith("/proc/self/fd/"):
                error.filename = one.path
            raise
        finally:
            self.folders += [(root, path) for path in made]
        if changed:
            raise UndoRefused(
                f"the saved copy of {one.path} has changed: {one.kept}", hint="bring it back, and undo again"
            )

    def put(self) -> tuple[str, ...]:
        """Give every draft its name; return the paths."""
        paths = tuple(path for _, path in self.drafts)
        while self.drafts:
            root, path = self.drafts[-1]
            with parent_of(root, path) as (at, name):
                inode = os.stat(_draft(name), dir_fd=at, follow_symlinks=False).st_ino
                try:
                    take_name(at, _draft(name), at, name)
                except FileExistsError:
                    raise _refusal([_Problem(path, path, "was written meanwhile")]) from None
                self.there.append((root, path, inode))
            self.drafts.pop()
        return paths

    def take_away(self) -> None:
        """Remove what `put` has put there, except what has been replaced since, and the folders that were made."""
        self.remove_drafts()
        for root, path, inode in self.there:
            with contextlib.suppress(OSError), parent_of(root, path) as (at, name):
                if os.stat(name, dir_fd=at, follow_symlinks=False).st_ino == inode:
                    os.unlink(name, dir_fd=at)
        for root, path in reversed(self.folders):
            with contextlib.suppress(OSError), parent_of(root, path) as (at, name):
                os.rmdir(name, dir_fd=at)

    def remove_drafts(self) -> None:
        """Remove the copies that have not been put in their places."""
        for root, path in self.drafts:
            with contextlib.suppress(OSError), parent_of(root, path) as (at, name):
                os.unlink(_draft(name), dir_fd=at)
        self.drafts.clear()


def _draft(name: str) -> str:
    """The name of a copy beside its place: as short as the file system takes, however long `name` is."""
    return f".rekindle-undo-{blake3(os.fsencode(name)).hexdigest()[:16]}"


class _Problem(NamedTuple):
    """Why a saved file cannot be put back."""

    path: str
    way: str  # the path that is in its way: its own, or that of a folder above it
    why: str
    copy: str = ""  # the saved one, where the file lies outside the project


def _problem(one: SavedFile, root: str | None) -> _Problem | Literal[""] | None:
    """Return "" if a saved file is at its place, None if nothing is there and it can be put back, else why not."""
    try:
        with parent_of(root or str(Path(one.path).parent), one.path) as (at, name):
            mode = kind(at, name)
            if mode is not None and _as_saved(one, mode, by_descriptor(at, name)):
                return ""
    except FileNotFoundError:
        mode = None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        what = "a symbolic link" if error.errno == errno.ELOOP else "no folder"
        return _Problem(one.path, str(error.filename), f"is {what} now")
    if root is None:
        return _Problem(one.path, one.path, "lies outside the project, where undo writes nothing", one.kept)
    if mode is None:
        if os.path.lexists(one.kept):
            return None
        raise UndoRefused(f"the saved copy of {one.path} is gone: {one.kept}", hint="bring it back, and undo again")
    if stat.S_ISREG(mode):
        return _Problem(one.path, one.path, "was written after the rerun")
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a FIFO"))
    word = next((word for is_kind, word in kinds if is_kind(mode)), "a socket or a device")
    was = "and had another target" if word == "a symbolic link" and Path(one.kept).is_symlink() else "and was a file"
    return _Problem(one.path, one.path, f"is {word} now, {was}")


def _as_saved(one: SavedFile, mode: int, path: str) -> bool:
    """Whether a file with this mode, a link not followed, is equal to the saved one."""
    if not (stat.S_ISLNK(mode) if Path(one.kept).is_symlink() else stat.S_ISREG(mode)):
        return False
    return os.lstat(path).st_size == one.size and _digest(path) == one.digest


def _refusal(problems: Sequence[_Problem]) -> UndoRefused:
    """The error that names every file which cannot be put back, and one command that helps."""
    lines = [one.path + (f": {one.way}" if one.way != one.path else "") + f" {one.why}" for one in problems]
    message = lines[0] if len(lines) == 1 else "\n  ".join((f"{len(lines)} outputs cannot be put back", *lines))
    first = problems[0]
    if first.copy:
        hint = f"copy it there yourself, then undo again: cp -a {shlex.quote(first.copy)} {shlex.quote(first.path)}"
    else:
        each = "move it" if len({one.way for one in problems}) == 1 else "move each of them"
        hint = f"{each} away, then undo again: mv {shlex.quote(first.way)} {shlex.quote(first.way + '.mine')}"
    return UndoRefused(f"nothing was undone: {message}", hint=hint)
