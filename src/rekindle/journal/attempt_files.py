"""The files of attempts in a store's folder: found, measured, removed, their logs compressed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator

from rekindle.files.kept_logs import SUFFIX, compress_log
from rekindle.journal.paths import attempt_folder, subtasks_folder
from rekindle.journal.trees import remove_path, tree_size

_LOG = re.compile(r"\.\d+\.(out|err)(\.gz)?\Z")


def files_of_attempts(store: str, attempts: Collection[int]) -> Iterator[tuple[int, list[str]]]:
    """Yield (attempt, the paths of its folder and of all beside it that is its own). Each folder of attempts is listed
    once. Attempts without files are left out."""
    by_parent: dict[str, set[int]] = {}
    for attempt in attempts:
        by_parent.setdefault(os.path.dirname(attempt_folder(store, attempt)), set()).add(attempt)
    for parent, several in sorted(by_parent.items()):
        found: dict[int, list[str]] = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(parent):
                number = name.partition(".")[0]
                if number.isdecimal() and int(number) in several:
                    found.setdefault(int(number), []).append(f"{parent}/{name}")
        yield from sorted(found.items())


def size_of(paths: Collection[str]) -> int:
    """Return the bytes of files and folders. What disappears meanwhile counts nothing."""
    size = 0
    for path in paths:
        with contextlib.suppress(OSError):
            size += tree_size(path)
    return size


def log_files_of(own: str, paths: Collection[str]) -> list[str]:
    """Return the logs among an attempt's paths, and those of its subtasks. `own`: the attempt's own path."""
    found = [path for path in paths if _LOG.fullmatch(path.removeprefix(own))]
    place = subtasks_folder(own)
    if place in paths:
        for folder, _, names in os.walk(place):
            found += [f"{folder}/{name}" for name in names if _LOG.search(name)]
    return found


def remove_files(store: str, attempt: int, paths: Collection[str], *, compress: bool) -> None:
    """Remove an attempt's files; with `compress`, all but its logs, which are compressed. What is gone already is no
    error: a removal that was interrupted is repeated. Raise OSError if something cannot be removed."""
    own = attempt_folder(store, attempt)
    logs = set(log_files_of(own, paths)) if compress else set()
    for path in logs:
        if not path.endswith(SUFFIX):
            compress_log(path)
    kept = logs | {f"{path}{SUFFIX}" for path in logs}
    for path in paths:
        if path == subtasks_folder(own) and kept:
            _remove_but(path, kept)
        elif path not in kept:
            remove_path(path)


def _remove_but(folder: str, kept: Collection[str]) -> None:
    """Remove what is in a folder, except for some files and the folders that hold them."""
    for inner, folders, names in os.walk(folder, topdown=False):
        for name in names:
            if f"{inner}/{name}" not in kept:
                remove_path(f"{inner}/{name}")
        for name in folders:
            with contextlib.suppress(OSError):  # it holds logs
                os.rmdir(f"{inner}/{name}")
