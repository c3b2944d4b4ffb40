from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from soak_faults import end_marked
from soak_project import SoakProject

DISK = 64 << 20
"""Size in bytes of the disk that is filled."""

LIBRARIES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/local/lib/faketime/libfaketimeMT.so.1")
SHARED = ("faketime_shm_*", "sem.faketime_sem_*")
"""Files that libfaketime makes in /dev/shm for each pid, and leaves there when the process is killed."""

Prepare = Callable[[str], SoakProject]


def _faketime() -> Path | None:
    return next((path for pattern in LIBRARIES for path in Path("/").glob(pattern)), None)


def _sweep_shared() -> None:
    for pattern in SHARED:
        for path in Path("/dev/shm").glob(pattern):
            if not Path("/proc", path.name.rpartition("_")[2]).exists():
                path.unlink(missing_ok=True)


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Prepare]:
    """`prepare(kind)` makes a project for schedules of that kind, or skips the test if the host lacks something."""
    mounts: list[Path] = []
    marks: list[str] = []

    def prepared(kind: str) -> SoakProject:
        store = tmp_path / "store"
        if kind in ("disk", "everything"):
            store.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", store],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                pytest.skip(f"no disk can be mounted to be filled: {done.stderr.strip()}")
            mounts.append(store)
            store /= "store"
        project = SoakProject(tmp_path, store)
        marks.append(project.mark)
        if kind in ("clock", "everything"):
            library = _faketime()
            if library is None:
                pytest.skip("no libfaketime to set clocks with (Debian: apt-get install libfaketime)")
            project.step_clocks(library)
        return project

    yield prepared
    for mark in marks:
        end_marked(mark)
    for mount in mounts:
        subprocess.run(["umount", "--lazy", mount], check=True)
    _sweep_shared()
