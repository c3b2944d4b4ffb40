"""Where a worker keeps what, in the store's folder and beside attempts' folders."""

from __future__ import annotations

import contextlib
import os
from typing import Literal

Stream = Literal["out", "err"]
STREAMS: tuple[Stream, Stream] = ("out", "err")

_PREFIXES = ("", "call.")  # of the files that commands and calls print into while they run


def journal_path(store: str, worker: str) -> str:
    """A worker's journal."""
    return f"{store}/journal/{worker}.jsonl"


def scratch_path(store: str, worker: str) -> str:
    """The folder that a worker has for itself while it lives."""
    return f"{store}/run/{worker}"


def log_path(folder: str, position: int, stream: Stream) -> str:
    """What the step at `position` of the attempt with that folder printed, once the step has ended. There is no such
    file when it printed nothing."""
    return f"{folder}.{position}.{stream}"


def live_log(scratch: str, stream: Stream) -> str:
    """What the step that a worker runs now has printed so far. The file is moved to `log_path` when the step ends."""
    paths = [f"{scratch}/{prefix}{stream}" for prefix in _PREFIXES]
    return next((path for path in paths if _size(path)), paths[0])


def rescue_logs(scratch: str, folder: str, position: int) -> None:
    """A worker has died: move what its step had printed to where it stays."""
    for stream in STREAMS:
        path = live_log(scratch, stream)
        if _size(path):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            os.rename(path, log_path(folder, position, stream))


def clear_scratch(scratch: str) -> None:
    """Remove what a worker that is gone has left for itself."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(scratch)):
            if entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):  # a spare folder is empty; one that is not is kept
                    os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(scratch)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
