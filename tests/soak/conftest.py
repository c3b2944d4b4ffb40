from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from soak_faults import end_marked
from soak_project import SoakProject

from faketime import MISSING, faketime_library, sweep_shared
from stores import make_store_in_postgres

DISK = 64 << 20
"""Size in bytes of the disk that is filled."""

Prepare = Callable[[str], SoakProject]


@pytest.fixture
def prepare(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Prepare]:
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
        make_store_in_postgres(request, store)
        project = SoakProject(tmp_path, store)
        marks.append(project.mark)
        if kind in ("clock", "everything"):
            library = faketime_library()
            if library is None:
                pytest.skip(MISSING)
            project.step_clocks(library)
        return project

    yield prepared
    for mark in marks:
        end_marked(mark)
    for mount in mounts:
        subprocess.run(["umount", "--lazy", mount], check=True)
    sweep_shared()
