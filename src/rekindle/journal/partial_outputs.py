"""Declared outputs that an incomplete attempt has left half written: find them, set them aside, restore them.

`partial: aside` moves them to the attempt's own folder, so that nothing reads them by mistake. A move is one rename. To
another file system, the output is hidden beside its place until the copy is complete, so that a killed process loses
nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import msgspec
from msgspec.structs import replace

from rekindle.domain.models import PartialOutput
from rekindle.files.store_files import apply_modes, folder_mode, make_folder, restore_modes
from rekindle.journal.trees import (
    copy_file,
    copy_tree,
    descriptor_path,
    mode_at,
    move_to_free_name,
    open_folder,
    open_parent,
    relative_below,
)

_COARSE = 5  # CLOCK_REALTIME_COARSE, from which local file systems take times: up to 10 ms behind CLOCK_REALTIME

_Look = tuple[int, int, int, int]  # inode, size, mtime_ns, ctime_ns


class OutputsBefore(msgspec.Struct, frozen=True):
    """The state of declared outputs before an attempt changed any: how each looked (None if missing), and the time.
    Without looks, an output that changed between `since` and `until` counts as changed by the attempt."""

    since: int  # nanoseconds, by the file systems' clock
    looks: Mapping[str, _Look | None] | None = None  # by path
    until: int | None = None


def observe_outputs(outputs: Mapping[str, str]) -> OutputsBefore:
    """Record the state of declared outputs (absolute paths by name) before an attempt changes any."""
    return OutputsBefore(time.clock_gettime_ns(_COARSE), {path: _look(path) for path in outputs.values()})


def changes_between(since: float, until: float | None = None) -> OutputsBefore:
    """Return an OutputsBefore for an attempt whose process has died, from its start on."""
    slack = 10_000_000
    return OutputsBefore(int(since * 1e9) - slack, None, None if until is None else int(until * 1e9))


def partial_outputs(outputs: Mapping[str, str], before: OutputsBefore) -> tuple[PartialOutput, ...]:
    """Return the declared outputs that exist and that the attempt has made or changed."""
    found = ((name, path, _changed(path, before)) for name, path in outputs.items())
    return tuple(PartialOutput(name, path, size) for name, path, size in found if size is not None)


def move_aside(
    partial: Sequence[PartialOutput],
    names: Sequence[str],
    before: OutputsBefore,
    root: str,
    place: str,
    *,
    copy: bool = True,
) -> tuple[PartialOutput, ...]:
    """Move partial outputs of an attempt to the folder `place`, each below its position among the `names` of all
    declared outputs. An output outside `root` (the project's folder) or behind a symbolic link stays. So does,
    without `copy`, an output on another file system."""
    moved = {}
    for one in sorted(partial, key=lambda one: -one.path.count("/")):  # a file before the folder that holds it
        try:
            moved[one.name] = _set_aside(one, before, root, _place(one, names, place), copy)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.ELOOP:
                reason = f"{error.filename} is a symbolic link"
            moved[one.name] = replace(one, stays=reason)
    return tuple(moved[one.name] for one in partial)


def restore_outputs(aside: Sequence[PartialOutput], root: str) -> None:
    """Move outputs that earlier attempts have set aside back to their paths, if they still exist. Raise
    FileExistsError with the output's path if another file is there, or another OSError. Nothing is ever replaced."""
    there = [one for one in aside if one.aside is not None and _exists(one.aside)]
    for one in there:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), open_parent(root, one.path) as (at, name):
            if mode_at(at, name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), one.path, None, one.aside)
    for one in sorted(there, key=lambda one: one.path.count("/")):
        assert one.aside is not None
        with open_parent(root, one.path, []) as (at, name):
            _bring_back(at, name, one.aside)


def missing_copies(aside: Sequence[PartialOutput]) -> list[PartialOutput]:
    """Return the outputs that exist neither set aside nor at their paths, and that no attempt can have restored.
    Raise OSError if this cannot be determined."""
    expected = [one for one in aside if one.aside is not None and not one.taken]
    return [one for one in expected if not _exists(one.aside or "") and not os.path.lexists(one.path)]


def missing_hint(job: int) -> str:
    """Return what a user can do about a job's missing copies."""
    return f"bring it back, or run the job from the beginning: rekindle rerun -i {job} --from beginning"


def missing_text(missing: Sequence[PartialOutput]) -> str:
    """Name the first of the missing copies, and how many more there are."""
    [first, *more] = missing
    text = f"the partial output {first.path} of an earlier attempt cannot be put back: its copy is gone: {first.aside}"
    return f"{text} (and {len(more):,} more)" if more else text


def _exists(path: str) -> bool:
    """Return whether a file exists; a link is not followed. Raise OSError if a folder cannot be searched."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def find_moved(outputs: Mapping[str, str], root: str, place: str) -> Iterator[PartialOutput]:
    """Yield outputs in `place` that were set aside without a record, because the process was killed. Restore an
    output that was being copied to another file system."""
    for name, path in outputs.items():
        one = PartialOutput(name, path, 0)
        kept = _place(one, list(outputs), place)
        with contextlib.suppress(OSError), open_parent(root, path) as (folder, last):
            if _finish_move(folder, last, kept):
                yield replace(one, size=_measured(path)[1], stays="the process that was moving it was killed")
        if os.path.lexists(kept):
            with contextlib.suppress(OSError), _own(kept) as (into, last):
                apply_modes(into, last)
            yield replace(one, size=_measured(kept)[1], aside=kept)


def _finish_move(at: int, name: str, kept: str) -> bool:
    """Finish an interrupted `_move_by_copy`. Return whether the output is at its path again."""
    hidden = _hidden_beside(kept)
    if mode_at(at, hidden) is None:
        return False
    if os.path.lexists(kept):  # the copy is whole
        _remove(at, hidden)
    elif mode_at(at, name) is None:
        try:
            with _own(kept, []) as (into, last):
                os.rename(hidden, last, src_dir_fd=at, dst_dir_fd=into)
        except OSError:
            os.rename(hidden, name, src_dir_fd=at, dst_dir_fd=at)
            return True
    return False


def _place(one: PartialOutput, names: Sequence[str], place: str) -> str:
    return f"{place}/{names.index(one.name)}/{os.path.basename(os.path.normpath(one.path))}"


def _hidden_beside(kept: str) -> str:
    """Return the name, beside its path, of an output that is being moved to another file system."""
    place, position = os.path.split(os.path.dirname(kept))
    return f".rekindle-{os.path.basename(place)}-{position}"


def _set_aside(one: PartialOutput, before: OutputsBefore, root: str, kept: str, copy: bool) -> PartialOutput:
    if relative_below(root, one.path) in (None, "."):
        return replace(one, stays="it lies outside the project")
    if os.path.islink(one.path) and not _is_changed(os.lstat(one.path), one.path, before):
        return replace(one, stays="it is a symbolic link, and only its target has changed")
    with open_parent(root, one.path) as (at, name), _own(kept, []) as (into, last):
        try:
            os.rename(name, last, src_dir_fd=at, dst_dir_fd=into)
        except OSError as error:
            if error.errno != errno.EXDEV or not copy:
                raise
            _move_by_copy(at, name, into, last, _hidden_beside(kept))
        apply_modes(into, last)
    return replace(one, aside=kept)


def _own(kept: str, made: list[str] | None = None) -> AbstractContextManager[tuple[int, str]]:
    """Open the folder of a set-aside output. Links are not followed: a job may have put some there."""
    beside = os.path.dirname(os.path.dirname(os.path.dirname(kept)))
    if made is not None:
        make_folder(beside)
        return open_parent(beside, kept, made, folder_mode(beside))
    return open_parent(beside, kept)


def _move_by_copy(at: int, name: str, into: int, last: str, hidden: str) -> None:
    """Move a file or folder to another file system; its name is `hidden` meanwhile."""
    part = ".part"
    os.rename(name, hidden, src_dir_fd=at, dst_dir_fd=at)
    try:
        with contextlib.suppress(FileNotFoundError):
            _remove(into, part)
        _copy(at, hidden, descriptor_path(into, part))
        os.rename(part, last, src_dir_fd=into, dst_dir_fd=into)
    except BaseException:  # an interruption too: the output goes back to its name
        with contextlib.suppress(OSError):
            _remove(into, part)
        os.rename(hidden, name, src_dir_fd=at, dst_dir_fd=at)
        raise
    with contextlib.suppress(OSError):  # the copy is whole
        _remove(at, hidden)


def _copy(at: int, name: str, target: str) -> None:
    if not stat.S_ISDIR(mode_at(at, name) or 0):
        copy_file(descriptor_path(at, name), target, lambda _: None)
        return
    folder = open_folder(at, name, name)
    try:
        copy_tree(descriptor_path(folder), target, lambda _: None)
    finally:
        os.close(folder)


def _remove(at: int, name: str) -> None:
    if stat.S_ISDIR(mode_at(at, name) or 0):
        import shutil

        shutil.rmtree(name, dir_fd=at)
    else:
        os.unlink(name, dir_fd=at)


def _bring_back(at: int, name: str, aside: str) -> None:
    """Move a set-aside output to a free name in an open folder."""
    with _own(aside) as (kept, last):
        is_folder = stat.S_ISDIR(mode_at(kept, last) or 0)
        try:
            if is_folder:
                os.rename(last, name, src_dir_fd=kept, dst_dir_fd=at)
            else:
                move_to_free_name(kept, last, at, name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            draft = _hidden_beside(aside)
            with contextlib.suppress(FileNotFoundError):
                _remove(at, draft)
            _copy(kept, last, descriptor_path(at, draft))
            if is_folder:
                os.rename(draft, name, src_dir_fd=at, dst_dir_fd=at)
            else:
                move_to_free_name(at, draft, at, name)
            _remove(kept, last)
        restore_modes(kept, at, name)


def _look(path: str) -> _Look | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return _look_of(found)


def _look_of(found: os.stat_result) -> _Look:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_changed(found: os.stat_result, path: str, before: OutputsBefore) -> bool:
    """Return whether the file itself (a link is not followed) was made or changed since."""
    if before.looks is not None:
        return before.looks.get(path) != _look_of(found)
    return before.since <= found.st_ctime_ns <= (before.until or found.st_ctime_ns)


def _changed(path: str, before: OutputsBefore) -> int | None:
    """Return the size of an output that was made or changed since; None for any other."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    newest, size = _measured(path)
    if _is_changed(found, path, before):
        return None if before.until is not None and newest > before.until else size
    if stat.S_ISREG(found.st_mode):
        return None
    return size if before.since <= newest <= (before.until or newest) else None


def _measured(path: str) -> tuple[int, int]:
    """Return the newest change time of a file, of a link's target or of a folder's content, and its size in bytes."""
    try:
        found = os.stat(path)
    except OSError:  # a link that leads nowhere
        return 0, 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_ctime_ns, found.st_size
    newest, size = found.st_ctime_ns, 0
    if os.path.islink(path):
        return newest, size
    folders = [path]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                one = entry.stat(follow_symlinks=False)
                newest = max(newest, one.st_ctime_ns)
                size += one.st_size if stat.S_ISREG(one.st_mode) else 0
                if stat.S_ISDIR(one.st_mode):
                    folders.append(entry.path)
    return newest, size
