"""Save declared outputs with their attempt before a rerun overwrites them, and restore them on undo.

The slow part (copying) is done before the transaction, and the part that must be atomic with it (renaming) within it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from blake3 import blake3

from rekindle.domain.errors import Refused, UndoRefused
from rekindle.domain.rerun.plan import PlannedJob, RerunPlan, SavedFile
from rekindle.files.store_files import folder_mode, make_folder, set_tree
from rekindle.journal.paths import attempt_folder, saved_outputs_folder
from rekindle.journal.trees import (
    copy_file,
    copy_tree,
    descriptor_path,
    mode_at,
    move_to_free_name,
    open_folder,
    open_parent,
    relative_below,
    remove_tree,
    tree_files,
    tree_size,
)

CopyProgress = Callable[[int, int], None]
"""Called with (bytes copied, bytes in total)."""


class OutputCopies(msgspec.Struct):
    """Copies of outputs. `commit` moves them to their final folders."""

    files: dict[int, tuple[SavedFile, ...]] = msgspec.field(default_factory=dict)  # by job
    places: list[str] = msgspec.field(
        default_factory=list
    )  # final folders; the content is still in the partial folder of each
    placed: list[str] = msgspec.field(default_factory=list)  # final folders that have their content

    def commit(self) -> None:
        """Move every copy to its final folder, replacing what an undone rerun left there. Refused if that fails."""
        try:
            while self.places:
                place = self.places[-1]
                remove_tree(place)
                if Path(_partial_folder(place)).exists():  # something was saved
                    Path(_partial_folder(place)).rename(place)
                    self.placed.append(place)
                self.places.pop()
        except OSError as error:
            raise Refused(
                f"nothing is changed: saved outputs cannot be put into {place}: {error.strerror or error}",
                hint="check the store's disk, or leave out --keep-outputs",
            ) from error


@contextlib.contextmanager
def copy_outputs(
    store_folder: str, plan: RerunPlan, directories: Mapping[int, str], progress: CopyProgress | None
) -> Iterator[OutputCopies]:
    """Copy the outputs that a plan saves. `directories`: by job, the folder of its workflow. Refused if one cannot be
    copied. Copies are removed if that happens, if the block fails even after `commit`, or if the block does not call
    `commit`."""
    jobs = list(plan.jobs.having(lambda job: bool(job.saves and job.archives)))
    found = OutputCopies()
    try:
        count = _CopyCounter(sum(_size(path) for job in jobs for path in job.saves), progress)
        for job in jobs:
            place = saved_outputs_folder(attempt_folder(store_folder, job.archives[0]))
            found.places.append(place)
            found.files[job.id] = _copy_job_outputs(job, directories[job.id], place, count)
        yield found
    except BaseException:  # KeyboardInterrupt too: remove what was not committed
        for place in found.placed:
            remove_tree(place)
        raise
    finally:
        for place in found.places:
            remove_tree(_partial_folder(place))


def root_of(path: str, job: PlannedJob, directory: str) -> str | None:
    """Return the folder in which a job may write the output `path`: the attempt's, or the workflow's `directory`. None
    if the output is outside of both."""
    own = (job.next.folder,) if job.next.take == "same" and job.next.folder else ()
    return next((root for root in (*own, directory) if relative_below(root, path) is not None), None)


class _CopyCounter(msgspec.Struct):
    """Counts copied bytes and reports them."""

    whole: int
    progress: CopyProgress | None
    done: int = 0

    def __call__(self, copied: int) -> None:
        self.done += copied
        if self.progress is not None:
            self.progress(self.done, self.whole)


def _partial_folder(place: str) -> str:
    return f"{place}.part"


def _size(path: str) -> int:
    try:
        return tree_size(path)
    except OSError:  # missing or unreadable: saving it will report that
        return 0


def _copy_job_outputs(job: PlannedJob, directory: str, place: str, count: _CopyCounter) -> tuple[SavedFile, ...]:
    """Copy a job's outputs: the first to folder 0, the second to folder 1, and so on, each under its own name."""
    remove_tree(_partial_folder(place))
    saved: list[SavedFile] = []
    for at, path in enumerate(job.saves):
        name = f"{at}/{Path(path).name or 'output'}"
        target = f"{_partial_folder(place)}/{name}"
        try:
            if _copy_output(root_of(path, job, directory) or str(Path(path).parent), path, target, count):
                saved += [_saved_file(one, path, target, f"{place}/{name}") for one in tree_files(target)]
        except OSError as error:
            link = f"{error.filename} is a symbolic link" if error.errno == errno.ELOOP else None
            raise Refused(
                f"nothing is changed: the output {path} of {job.name} cannot be saved: "
                f"{link or error.strerror or error}",
                hint="leave out --keep-outputs" if link else "make room for it, or leave out --keep-outputs",
            ) from error
    if saved:
        set_tree(_partial_folder(place), folder_mode(Path(place).parent))
    return tuple(saved)


def _copy_output(root: str, path: str, target: str, count: _CopyCounter) -> bool:
    """Copy a file, a folder or a symbolic link to `target`, following no link below `root`. Return False if there is
    none. Other kinds (FIFO, socket, device) are not copied."""
    try:
        with open_parent(root, path) as (at, name):
            mode = mode_at(at, name) or 0
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
                return False
            make_folder(Path(target).parent)
            if not stat.S_ISDIR(mode):
                copy_file(descriptor_path(at, name), target, count)
                return True
            folder = open_folder(at, name, path)
    except (FileNotFoundError, NotADirectoryError):  # gone since the plan was made
        return False
    try:
        copy_tree(descriptor_path(folder), target, count)
    finally:
        os.close(folder)
    return True


def _saved_file(copy: str, path: str, target: str, kept: str) -> SavedFile:
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
def restore_outputs(saved: Sequence[tuple[SavedFile, str | None]]) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Copy the saved files that are missing beside their paths. The block receives a function that moves them into
    place and returns their paths. Each file comes with the folder that it may be written in, see `root_of`.

    UndoRefused, with the names of all files, if another file or a symbolic link is in the way, a copy is missing, or a
    file is outside the project; nothing has been changed then. If the block fails, all restored files are removed.
    """
    back = _OutputRestore()
    try:
        back.copy(saved)
        yield back.put
    except BaseException as error:  # KeyboardInterrupt too
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


class _OutputRestore(msgspec.Struct):
    """Restores saved files. Nothing is ever replaced: an occupied path refuses the undo."""

    drafts: list[tuple[str, str]] = msgspec.field(
        default_factory=list
    )  # (root, path of the output): copied, not yet moved
    there: list[tuple[str, str, int]] = msgspec.field(default_factory=list)  # (root, path, inode): moved into place
    folders: list[tuple[str, str]] = msgspec.field(default_factory=list)  # (root, path): created

    def copy(self, saved: Sequence[tuple[SavedFile, str | None]]) -> None:
        """Check every file, then copy the missing ones to drafts beside their paths."""
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
            with open_parent(root, one.path, made) as (at, name):
                self.drafts.append((root, one.path))
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_draft(name), dir_fd=at)  # left by a killed undo
                copy_file(one.kept, descriptor_path(at, _draft(name)), lambda _: None)
                if one.mode is not None:
                    Path(descriptor_path(at, _draft(name))).chmod(one.mode)
                changed = _digest(descriptor_path(at, _draft(name))) != one.digest
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
        """Rename every draft to its path; return the paths."""
        paths = tuple(path for _, path in self.drafts)
        while self.drafts:
            root, path = self.drafts[-1]
            with open_parent(root, path) as (at, name):
                inode = os.stat(_draft(name), dir_fd=at, follow_symlinks=False).st_ino
                try:
                    move_to_free_name(at, _draft(name), at, name)
                except FileExistsError:
                    raise _refusal([_Problem(path, path, "was written meanwhile")]) from None
                self.there.append((root, path, inode))
            self.drafts.pop()
        return paths

    def take_away(self) -> None:
        """Remove the restored files, except those replaced since, and the folders that were created."""
        self.remove_drafts()
        for root, path, inode in self.there:
            with contextlib.suppress(OSError), open_parent(root, path) as (at, name):
                if os.stat(name, dir_fd=at, follow_symlinks=False).st_ino == inode:
                    os.unlink(name, dir_fd=at)
        for root, path in reversed(self.folders):
            with contextlib.suppress(OSError), open_parent(root, path) as (at, name):
                os.rmdir(name, dir_fd=at)

    def remove_drafts(self) -> None:
        """Remove the drafts that were not renamed."""
        for root, path in self.drafts:
            with contextlib.suppress(OSError), open_parent(root, path) as (at, name):
                os.unlink(_draft(name), dir_fd=at)
        self.drafts.clear()


def _draft(name: str) -> str:
    """Return the name of a draft: short enough for the file system, however long `name` is."""
    return f".rekindle-undo-{blake3(os.fsencode(name)).hexdigest()[:16]}"


class _Problem(msgspec.Struct, frozen=True):
    """Why a saved file cannot be restored."""

    path: str
    way: str  # the path in its way: its own, or a parent folder
    why: str
    copy: str = ""  # path of the saved copy, if the file is outside the project


def _problem(one: SavedFile, root: str | None) -> _Problem | Literal[""] | None:
    """Return "" if the saved file is in place, None if it is missing and can be restored, otherwise the problem."""
    try:
        with open_parent(root or str(Path(one.path).parent), one.path) as (at, name):
            mode = mode_at(at, name)
            if mode is not None and _equals_saved(one, mode, descriptor_path(at, name)):
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


def _equals_saved(one: SavedFile, mode: int, path: str) -> bool:
    """Return whether a file with this mode equals the saved one. Links are not followed."""
    if not (stat.S_ISLNK(mode) if Path(one.kept).is_symlink() else stat.S_ISREG(mode)):
        return False
    return os.lstat(path).st_size == one.size and _digest(path) == one.digest


def _refusal(problems: Sequence[_Problem]) -> UndoRefused:
    """Return an error that names every file that cannot be restored, with one command that helps."""
    lines = [one.path + (f": {one.way}" if one.way != one.path else "") + f" {one.why}" for one in problems]
    message = lines[0] if len(lines) == 1 else "\n  ".join((f"{len(lines)} outputs cannot be put back", *lines))
    first = problems[0]
    if first.copy:
        hint = f"copy it there yourself, then undo again: cp -a {shlex.quote(first.copy)} {shlex.quote(first.path)}"
    else:
        each = "move it" if len({one.way for one in problems}) == 1 else "move each of them"
        hint = f"{each} away, then undo again: mv {shlex.quote(first.way)} {shlex.quote(first.way + '.mine')}"
    return UndoRefused(f"nothing was undone: {message}", hint=hint)
