"""The sdist and the wheel, built once in a test run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from installed import BUILD_TOOLS, ROOT, Installed, build_in, make_environment

from shared import folder_of_run, shared


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `dist`, which has the sdist and the wheel, and the environment `tools`, which has built them."""
    folder = folder_of_run(request, tmp_path_factory) / "packaging"

    def build() -> str:
        folder.mkdir(exist_ok=True)
        build_in(folder / "dist", ROOT, make_environment(folder / "tools", sys.executable, *BUILD_TOOLS))
        return str(folder)

    with shared(folder.parent, "packaging", build, shutil.rmtree) as path:
        yield Path(path)


@pytest.fixture
def install(built: Path, tmp_path: Path) -> Iterator[Callable[..., Installed]]:
    """Install the wheel with extras in a clean environment; a project that uses it."""
    with ExitStack() as stack:

        def make(extra: str = "", python: str = sys.executable) -> Installed:
            [wheel] = (built / "dist").glob("*.whl")
            environment = make_environment(tmp_path / "environment", python, f"rekindle{extra} @ {wheel.as_uri()}")
            (tmp_path / "project").mkdir()
            return stack.enter_context(closing(Installed(tmp_path / "project", environment)))

        yield make
