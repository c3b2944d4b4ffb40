"""A fixture that fills a folder once, and copies the folder for each further test."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class HasFolder(Protocol):
    """A project in a folder of the test's own, directly below pytest's base folder."""

    folder: Path


def made_once(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a fixture that fills the folder of the one fixture that it requests, and returns that.

    The first test calls the fixture; each later one of the process gets a copy of what that left in the folder, so that
    no test sees what another has done."""

    kept: list[Path] = []

    @functools.wraps(prepare)
    def filled(**requested: HasFolder) -> Any:
        (project,) = requested.values()
        if kept:
            shutil.copytree(kept[0], project.folder, symlinks=True, dirs_exist_ok=True)
        else:
            prepare(project)
            folder = Path(tempfile.mkdtemp(prefix=f"{prepare.__name__}-", dir=project.folder.parent))
            kept.append(shutil.copytree(project.folder, folder, symlinks=True, dirs_exist_ok=True))
        return project

    return filled
