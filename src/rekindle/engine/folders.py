"""Where an attempt's folder and logs are: sharded, so that a million attempts are not a million neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rekindle.journal import places


def log_path(own: str, step: int, stream: str) -> str:
    """Where a step's stdout or stderr is kept once it has ended, if there was any."""
    return places.log_path(own, step, "out" if stream == "stdout" else "err")


def live_log_path(store_folder: str, worker: str, stream: str) -> str:
    """Where a running step's stdout or stderr is: one of its worker's own files."""
    return places.live_log(places.scratch_path(store_folder, worker), "out" if stream == "stdout" else "err")


def attempt_files(folder: Path) -> Iterator[Path]:
    """The files beside an attempt's folder that belong to it."""
    return folder.parent.glob(f"{folder.name}.*")
