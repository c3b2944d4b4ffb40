"""Declared outputs, saved with the attempt that made them before a rerun writes over them, and put back by undo.

Both are done in two parts: what takes long (copying) before the transaction, what must go together with it (renaming)
within it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from rekindle.domain.errors import Refused, UndoRefused
from rekindle.domain.rerunning.rerun import PlannedJob, RerunPlan, SavedFile
from rekindle.files.modes import make_folder
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
def saving(store_folder: str, plan: RerunPlan, tell: Tell | None) -> Iterator[Saving]:
    """Copy the outputs that a plan saves. Refused, with nothing left behind, when one cannot be copied; nothing is
    left either when the block fails, even after its `commit`, or does not call that."""
    jobs = [job for job in plan.jobs if job.manner.saves and job.archives]
    found = Saving()
    try:
        count = _Count(sum(_size(path) for job in jobs for path in job.manner.saves), tell)
        for job in jobs:
            place = saved_outputs(attempt_folder(store_folder, job.archives[0]))
            found.places.append(place)
            found.files[job.id] = _save(job, place, count)
        yield found
    except BaseException:  # an interruption too: nothing that was not committed is left behind
        for place in found.placed:
            remove_tree(place)
        raise
    finally:
        for place in found.places:
            remove_tree(_part(place))


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


def _save(job: PlannedJob, place: str, count: _Count) -> tuple[SavedFile, ...]:
    """Copy a job's outputs; the first to a folder 0, the second to 1, …, each under its own name."""
    remove_tree(_part(place))
    saved: list[SavedFile] = []
    for at, path in enumerate(job.manner.saves):
        if not os.path.lexists(path):
            continue  # gone since the plan was made
        name = f"{at}/{Path(path).name or 'output'}"
        target = f"{_part(place)}/{name}"
        try:
            make_folder(Path(target).parent)
            if Path(path).is_dir() and not Path(path).is_symlink():
                copy_tree(path, target, count)
            else:
                copy_file(path, target, count)
            saved += [_described(one, path, target, f"{place}/{name}") for one in files_of(target)]
        except OSError as error:
            raise Refused(
                f"nothing is changed: the output {path} of {job.name} cannot be saved: {error.strerror or error}",
                hint="make room for it, or leave out --keep-outputs",
            ) from error
    return tuple(saved)


def _described(copy: str, path: str, target: str, kept: str) -> SavedFile:
    behind = copy.removeprefix(target)
    found = os.lstat(copy)
    return SavedFile(path + behind, kept + behind, _digest(copy), found.st_size, found.st_mtime_ns)


def _digest(path: str) -> str:
    if Path(path).is_symlink():
        return blake3(os.fsencode(Path(path).readlink())).hexdigest()
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.hexdigest()


@contextlib.contextmanager
def restoring(saved: Sequence[SavedFile]) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Lay copies of the saved files that are not as they were beside their places. The block is given what puts them
    there, one rename each, and tells which. When the block fails, what was there is put back; what it does not put
    there is removed. UndoRefused when that cannot be."""
    laid: dict[str, str] = {}
    aside: dict[str, str | None] = {}  # by path: where what was there is until the block has succeeded; None: nothing

    def put() -> tuple[str, ...]:
        paths = tuple(laid)
        for path, draft in list(laid.items()):
            aside[path] = _put_aside(path)
            Path(draft).replace(path)
            del laid[path]
        return paths

    try:
        for one in saved:
            if not _as_it_was(one):
                laid[one.path] = _lay(one)
        yield put
    except BaseException as error:  # an interruption too: what was there is put back
        for path, kept in aside.items():
            if kept is None:
                Path(path).unlink(missing_ok=True)
            else:
                Path(kept).replace(path)
        aside.clear()
        if not isinstance(error, OSError):
            raise
        raise UndoRefused(
            f"a file cannot be put back: {error.strerror or error} ({error.filename})",
            hint="nothing was undone; mend that and try again",
        ) from error
    finally:
        for left in (*laid.values(), *aside.values()):
            if left is not None:
                Path(left).unlink(missing_ok=True)


def _put_aside(path: str) -> str | None:
    """Give what is at a path a second name; None: nothing is there."""
    kept = f"{path}.rekindle-undone"
    Path(kept).unlink(missing_ok=True)
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:  # a file system without second names
        Path(path).rename(kept)
    return kept


def _as_it_was(one: SavedFile) -> bool:
    try:
        found = os.lstat(one.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISDIR(found.st_mode) or found.st_size != one.size:
        return False
    return _digest(one.path) == one.digest  # equal size and modification time do not mean equal content


def _lay(one: SavedFile) -> str:
    if Path(one.path).is_dir() and not Path(one.path).is_symlink():
        raise UndoRefused(f"{one.path} is a folder now, and was a file", hint="move it away, and undo again")
    if not os.path.lexists(one.kept):
        raise UndoRefused(f"the saved copy of {one.path} is gone: {one.kept}", hint="bring it back, and undo again")
    draft = f"{one.path}.rekindle-undo"
    Path(one.path).parent.mkdir(parents=True, exist_ok=True)
    Path(draft).unlink(missing_ok=True)
    copy_file(one.kept, draft, lambda _: None)
    return draft
