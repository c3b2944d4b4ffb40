"""libfaketime, which sets the clocks of processes."""

from __future__ import annotations

from pathlib import Path

LIBRARIES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/local/lib/faketime/libfaketimeMT.so.1")
SHARED = ("faketime_shm_*", "sem.faketime_sem_*")
"""Files that libfaketime makes in /dev/shm for each pid, and leaves there when the process is killed."""

MISSING = "no libfaketime to set clocks with (Debian: apt-get install libfaketime)"


def faketime_library() -> Path | None:
    """Return the library; None if it is not installed."""
    return next((path for pattern in LIBRARIES for path in Path("/").glob(pattern)), None)


def sweep_shared() -> None:
    """Remove the files of processes that have ended."""
    for pattern in SHARED:
        for path in Path("/dev/shm").glob(pattern):
            if not Path("/proc", path.name.rpartition("_")[2]).exists():
                path.unlink(missing_ok=True)
