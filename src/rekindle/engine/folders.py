"""Where an attempt's folder and logs are: sharded, so that a million attempts are not a million neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rekindle.journal import places


def attempt_folder(store_folder: str, attempt: int) -> str:
    """The absolute path of an attempt's own folder; 256 attempts share a parent, 256 parents a grandparent."""
    return f"{store_folder}/attempts/{attempt >> 16:04x}/{attempt >> 8 & 0xFF:02x}/{attempt}"


def log_path(folder: str, step: int, stream: str) -> str:
    """Where a step's stdout or stderr is kept once it has ended: beside the folder, and only if there was any."""
    return places.log_path(folder, step, "out" if stream == "stdout" else "err")


def live_log_path(store_folder: str, worker: str, stream: str) -> str:
    """Where a running step's stdout or stderr is: one of its worker's own files."""
    return places.live_log(places.scratch_path(store_folder, worker), "out" if stream == "stdout" else "err")


def attempt_files(folder: Path) -> Iterator[Path]:
    """The files beside an attempt's folder that belong to it."""
    return folder.parent.glob(f"{folder.name}.*")
