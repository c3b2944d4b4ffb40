"""The example of docs/how-to/writing-an-executor.md: HyperQueue as an executor, on a real server and worker."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import msgspec
import pytest
from entry_points import installed
from processes import stopped

pytest.register_assert_rewrite("rekindle.testing.placements")

from rekindle.domain.states import Cause  # noqa: E402
from rekindle.executors.placement import Batch, Phase  # noqa: E402
from rekindle.executors.placements import find_placement  # noqa: E402
from rekindle.testing.placements import PlacementContract, Trial  # noqa: E402

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "hyperqueue"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server with a worker of four cpus, and the example installed."""
    package, directory = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("server")
    shutil.copy(EXAMPLE / "rekindle_hyperqueue.py", package)
    offered = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["rekindle.placements"]
    with installed(package, "hyperqueue", offered["hyperqueue"]):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("hyperqueue_server.py"), directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
        )
        assert process.stdin
        assert process.stdout
        while b"started" not in process.stdout.readline():
            assert process.poll() is None
        yield process, str(directory)
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


class TestHyperQueue(PlacementContract):
    executor = "hyperqueue"

    @pytest.fixture
    def address(self, server: tuple[subprocess.Popen[bytes], str]) -> str:
        return server[1]

    @pytest.fixture
    def silence(self, server: tuple[subprocess.Popen[bytes], str]) -> Callable[[], AbstractContextManager[object]]:
        return lambda: stopped(server[0])

    def one_at_a_time(self, batch: Batch) -> Batch:
        return msgspec.structs.replace(batch, cpus=4)


@pytest.mark.parametrize("name", ["rekindle_hyperqueue.py", "pyproject.toml"])
def test_the_page_shows_the_example(name: str) -> None:
    page = (ROOT / "docs" / "how-to" / "writing-an-executor.md").read_text()
    assert f"`{name}`:\n\n```{'python' if name.endswith('.py') else 'toml'}\n{(EXAMPLE / name).read_text()}```" in page


def test_memory_and_gpus_are_asked_for(server: tuple[subprocess.Popen[bytes], str], tmp_path: Path) -> None:
    with closing(find_placement("hyperqueue", server[1])) as placement:
        one = Trial(placement, tmp_path / "batch", 90, "true", 1)
        one.batch = msgspec.structs.replace(one.batch, memory=2**60, gpus=99)
        one.submit()
        assert one.until(Phase.PENDING)[0].waits_for
        one.call(placement.cancel, {one.handle: [0]})
        assert one.until(Phase.ENDED)[0].cause is Cause.CANCELED
