"""Where a worker keeps what, in the store's folder and beside attempts' folders."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Literal

from rekindle.files.leaves import found_at, set_aside
from rekindle.files.modes import make_folder, write_file

Stream = Literal["out", "err"]
STREAMS: tuple[Stream, Stream] = ("out", "err")

TOKEN = "REKINDLE_TOKEN"
"""The variable with an attempt's token in the environment of its processes."""

HOST = "host"
"""How the folders begin that a worker has, in its own, for the call hosts beside its first one."""

_ATTEMPTS = "/attempts/"
_PREFIXES = ("", "call.")  # of the files that commands and calls print into while they run


def journal_path(store: str, worker: str) -> str:
    """A worker's journal."""
    return f"{store}/journal/{worker}.jsonl"


def scratch_path(store: str, worker: str) -> str:
    """The folder that a worker has for itself while it lives."""
    return f"{store}/run/{worker}"


def variable_of(token: str) -> str:
    """What is in the environment of all processes of the attempt with that token, and of no others."""
    return f"{TOKEN}={token}"


def attempt_folder(store: str, attempt: int) -> str:
    """An attempt's own path: its folder, unless it runs in an earlier one's, and the beginning of the names of its
    other files. 256 attempts share a parent, 256 parents a grandparent."""
    return f"{store}{_ATTEMPTS}{attempt >> 16:04x}/{attempt >> 8 & 0xFF:02x}/{attempt}"


def is_among_attempts(folder: str, path: str) -> bool:
    """Whether a folder above the path of an attempt's file is a store's folder of attempts, or within it."""
    return len(folder) >= path.rfind(_ATTEMPTS) + len(_ATTEMPTS) - 1


def log_path(own: str, position: int, stream: Stream) -> str:
    """What the step at `position` of the attempt with that path printed, once the step has ended. There is no such
    file when it printed nothing."""
    return f"{own}.{position}.{stream}"


def copy_part(own: str, folder: str, token: str) -> str:
    """The copy of an earlier attempt's folder while it is not whole: beside the folder that it becomes. Where that is
    not the attempt's own, nobody else has a folder of that name."""
    return f"{own}.part" if folder == own else f"{folder}.{token}.part"


def copy_progress(own: str) -> str:
    """How far that copy is; there only while it is made."""
    return f"{own}.copying"


def write_progress(own: str, done: int, whole: int) -> None:
    """Say how many bytes of how many are copied."""
    path = copy_progress(own)
    write_file(f"{path}.new", f"{done} {whole}")
    os.replace(f"{path}.new", path)


def read_progress(own: str) -> tuple[int, int] | None:
    """(bytes copied, bytes in all) of a copy under way; None: there is none."""
    try:
        with open(copy_progress(own)) as file:
            done, whole = file.read().split()
    except FileNotFoundError:
        return None
    return int(done), int(whole)


def forget_progress(own: str) -> None:
    """The copy has ended."""
    for path in (copy_progress(own), f"{copy_progress(own)}.new"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def saved_outputs(own: str) -> str:
    """The folder with the outputs that were saved before a rerun wrote over them."""
    return f"{own}.outputs"


def outputs_aside(own: str) -> str:
    """The folder with the outputs that an attempt had not completed, where they are set aside."""
    return f"{own}.partial"


def subtask_folder(folder: str, position: int, index: int) -> str:
    """The folder of a subtask of the step at `position` of the attempt with that folder; 256 of them share a parent.
    What the subtask printed is at `log_path` of its folder."""
    return f"{subtasks_folder(folder)}/{position}/{index >> 8:02x}/{index}"


def subtasks_folder(folder: str) -> str:
    """Where the subtasks of the attempt with that folder have theirs."""
    return f"{folder}.subtasks"


def remove_empty(folder: str) -> None:
    """Remove a folder and those within it, as far as there is nothing else in them."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                remove_empty(entry.path)
        os.rmdir(folder)


def live_log(scratch: str, stream: Stream) -> str:
    """What the step that a worker runs now has printed so far. The file is moved to `log_path` when the step ends."""
    paths = [f"{scratch}/{prefix}{stream}" for prefix in _PREFIXES]
    return next((path for path in paths if _size(path)), paths[0])


def rescue_logs(scratch: str, own: str, position: int) -> None:
    """A worker has died: move what its step had printed to where it stays."""
    for stream in STREAMS:
        path, kept = live_log(scratch, stream), log_path(own, position, stream)
        if _size(path):
            make_folder(os.path.dirname(own))
            if found_at(kept) not in (None, "a file"):
                set_aside(kept)  # the step has put it there
            os.rename(path, kept)


def clear_scratch(scratch: str) -> None:
    """Remove what a worker that is gone has left for itself."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in list(os.scandir(scratch)):
            if entry.is_dir(follow_symlinks=False):
                if entry.name.startswith(HOST):
                    clear_scratch(entry.path)
                with contextlib.suppress(OSError):  # a spare folder is empty; one that is not is kept
                    os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(scratch)


def _size(path: str) -> int:
    """Bytes of a regular file; 0 where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
