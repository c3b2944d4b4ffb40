"""Packages of others, as they are after installation: their modules and their metadata in a folder on sys.path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def installed(folder: Path, name: str, value: str) -> Iterator[None]:
    """Let a folder with a module be a package with an entry point of a placement, here and in new processes."""
    info = folder / f"rekindle_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rekindle-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rekindle.placements]\n{name} = {value}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
        sys.modules.pop(value.partition(":")[0], None)
