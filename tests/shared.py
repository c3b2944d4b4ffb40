"""What the processes of a test run share: the first that needs it starts it, the last stops it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def shared(folder: Path, name: str, start: Callable[[], str], stop: Callable[[str], None]) -> Iterator[str]:
    """Use what `start` starts, under a name that is unique in the test run; yield what `start` returned.

    `folder` belongs to the test run. Each process that uses it holds a lock there."""
    note = folder / f"{name}.started"
    with open(folder / f"{name}.turn", "w") as turn, open(folder / f"{name}.users", "w") as users:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(start())
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        started = note.read_text()
        yield started
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process uses it
        note.unlink()
        stop(started)


def folder_of_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this test run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if hasattr(request.config, "workerinput") else folder
