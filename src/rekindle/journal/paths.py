"""Paths of a worker's files, in the store's folder and beside attempts' folders."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection
from typing import Literal

from rekindle.files.store_files import kind_at, make_folder, move_out_of_way, write_file

Stream = Literal["out", "err"]
STREAMS: tuple[Stream, Stream] = ("out", "err")

TOKEN_VARIABLE = "REKINDLE_TOKEN"
"""The environment variable that holds the attempt's token in each of its processes."""

HOST_PREFIX = "host"
"""Prefix of the folders that a worker makes, in its own folder, for additional call hosts."""

JOB_STORE_VARIABLE, JOB_PROJECT_VARIABLE = "REKINDLE_JOB_STORE", "REKINDLE_JOB_PROJECT"
"""The environment variables of an attempt that hold the store of its runner, and the folder of its workflow."""

_MANY_JOURNALS = 32

_ATTEMPTS = "/attempts/"
_PREFIXES = ("", "call.")  # of the log files of running commands and calls


def journal_path(store: str, worker: str) -> str:
    """Return the path of a worker's journal."""
    return f"{store}/journal/{worker}.jsonl"


def absent_journals(paths: Collection[str]) -> Collection[str]:
    """Return those of these journals of one store that are known not to exist. If there are many, their folder is
    listed: on a shared file system each look at a file is a request to its server."""
    if len(paths) < _MANY_JOURNALS:
        return ()
    try:
        names = set(os.listdir(os.path.dirname(next(iter(paths)))))
    except OSError:
        return ()
    return {path for path in paths if os.path.basename(path) not in names}


def scratch_path(store: str, worker: str) -> str:
    """Return the folder that a worker uses while it lives."""
    return f"{store}/run/{worker}"


def token_entry(token: str) -> str:
    """Return the `NAME=value` entry that only processes of the attempt with this token have in their environment."""
    return f"{TOKEN_VARIABLE}={token}"


def attempt_folder(store: str, attempt: int) -> str:
    """Return an attempt's own path: its folder (unless it runs in the folder of an earlier attempt), and the prefix
    of its other files. 256 attempts share a parent, 256 parents a grandparent."""
    return f"{store}{_ATTEMPTS}{attempt >> 16:04x}/{attempt >> 8 & 0xFF:02x}/{attempt}"


def is_among_attempts(folder: str, path: str) -> bool:
    """Return whether a folder above an attempt's file is a store's `attempts` folder or lies within it."""
    return len(folder) >= path.rfind(_ATTEMPTS) + len(_ATTEMPTS) - 1


def log_path(own: str, position: int, stream: Stream) -> str:
    """Return the log of an ended step: the stream's output of the step at `position`. The file is missing if nothing
    was printed."""
    return f"{own}.{position}.{stream}"


def unfinished_copy(own: str, folder: str, token: str) -> str:
    """Return the path of an incomplete copy of an earlier attempt's folder: beside the target folder. If the target
    is not the attempt's own, the token makes the name unique."""
    return f"{own}.part" if folder == own else f"{folder}.{token}.part"


def progress_path(own: str) -> str:
    """Return the file that holds the progress of the copy. It exists only while the copy runs."""
    return f"{own}.copying"


def write_progress(own: str, done: int, whole: int) -> None:
    """Record how many bytes of the total are copied."""
    path = progress_path(own)
    write_file(f"{path}.new", f"{done} {whole}")
    os.replace(f"{path}.new", path)


def read_progress(own: str) -> tuple[int, int] | None:
    """Return (bytes copied, total bytes) of a running copy; None if there is none."""
    try:
        with open(progress_path(own)) as file:
            done, whole = file.read().split()
    except FileNotFoundError:
        return None
    return int(done), int(whole)


def remove_progress(own: str) -> None:
    """Remove the progress of an ended copy."""
    for path in (progress_path(own), f"{progress_path(own)}.new"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def saved_outputs_folder(own: str) -> str:
    """Return the folder with outputs saved before a rerun overwrote them."""
    return f"{own}.outputs"


def partial_outputs_folder(own: str) -> str:
    """Return the folder with outputs that the attempt did not complete and that were set aside."""
    return f"{own}.partial"


def subtask_folder(folder: str, position: int, index: int) -> str:
    """Return the folder of a subtask of the step at `position`; 256 subtasks share a parent. Its logs are at
    `log_path` of this folder."""
    return f"{subtasks_folder(folder)}/{position}/{index >> 8:02x}/{index}"


def subtasks_folder(folder: str) -> str:
    """Return the folder that holds the folders of an attempt's subtasks."""
    return f"{folder}.subtasks"


def remove_empty(folder: str) -> None:
    """Remove a folder and the folders within it, except for those that contain files."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                remove_empty(entry.path)
        os.rmdir(folder)


def live_log(scratch: str, stream: Stream) -> str:
    """Return the log of the step that a worker runs now. The file moves to `log_path` when the step ends."""
    paths = [f"{scratch}/{prefix}{stream}" for prefix in _PREFIXES]
    return next((path for path in paths if _size(path)), paths[0])


def rescue_logs(scratch: str, own: str, position: int) -> None:
    """Move the log of a dead worker's current step to `log_path`."""
    for stream in STREAMS:
        path, kept = live_log(scratch, stream), log_path(own, position, stream)
        if _size(path):
            make_folder(os.path.dirname(own))
            if kind_at(kept) not in (None, "a file"):
                move_out_of_way(kept)  # the step has replaced its log
            os.rename(path, kept)


def clear_scratch(scratch: str) -> None:
    """Remove the files of a worker that has ended."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in list(os.scandir(scratch)):
            if entry.is_dir(follow_symlinks=False):
                if entry.name.startswith(HOST_PREFIX):
                    clear_scratch(entry.path)
                with contextlib.suppress(OSError):  # keep a spare folder that is not empty
                    os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(scratch)


def _size(path: str) -> int:
    """Return the size of a regular file in bytes; 0 if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
