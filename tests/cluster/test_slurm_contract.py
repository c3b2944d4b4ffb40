"""The contract of placements, on a real Slurm."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

pytest.register_assert_rewrite("rekindle.testing.placements")

from rekindle.executors.slurm import SlurmPlacement  # noqa: E402
from rekindle.testing.placements import PlacementContract  # noqa: E402
from slurm_cluster import Slurm, running_slurm  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with running_slurm("1", "4") as made:
        yield made


class TestSlurm(PlacementContract):
    executor = "slurm"

    @pytest.fixture
    def address(self, cluster: Slurm) -> str:
        return cluster.conf

    @pytest.fixture
    def placement(self, cluster: Slurm) -> SlurmPlacement:
        return SlurmPlacement(cluster.conf, seconds=3)  # for a shorter test

    @pytest.fixture
    def silence(self, cluster: Slurm) -> Callable[[], AbstractContextManager[object]]:
        return lambda: stopped(cluster.process("slurmctld"))


@contextmanager
def stopped(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
