"""The placement on Dask, on a real scheduler and real workers in their own processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

import msgspec
import pytest
from distributed import Client, Future
from harness import alive
from processes import stopped

pytest.register_assert_rewrite("rekindle.testing.placements")

from dask_cluster import DaskCluster, dask_cluster  # noqa: E402
from rekindle.domain.errors import UsageError  # noqa: E402
from rekindle.domain.states import Cause  # noqa: E402
from rekindle.executors.dask import DaskPlacement  # noqa: E402
from rekindle.executors.placement import (  # noqa: E402
    Batch,
    Phase,
    Placement,
    PlacementRefused,
    PlacementUnreachable,
)
from rekindle.executors.placements import find_placement  # noqa: E402
from rekindle.testing.placements import HOLD, PlacementContract, Trial  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as made:
        made.start_scheduler()
        made.start_worker("--resources", "SLOT=1")
        yield made


class TestDask(PlacementContract):
    executor = "dask"

    @pytest.fixture
    def address(self, cluster: DaskCluster) -> str:
        return cluster.address

    @pytest.fixture
    def placement(self, cluster: DaskCluster) -> Iterator[Placement]:
        with closing(DaskPlacement(cluster.address, seconds=3)) as made:  # for a shorter test
            yield made

    @pytest.fixture
    def silence(self, cluster: DaskCluster) -> Callable[[], AbstractContextManager[object]]:
        return lambda: stopped(cluster.processes[0])

    def one_at_a_time(self, batch: Batch) -> Batch:
        return msgspec.structs.replace(batch, options=("resources.SLOT=1",))

    def too_large(self, batch: Batch) -> Batch:
        return msgspec.structs.replace(batch, options=("resources.NOWHERE=1",))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster of the test's own, without processes."""
    with dask_cluster(tmp_path / "dask") as made:
        yield made


@pytest.fixture
def connect() -> Iterator[Callable[[DaskCluster], Placement]]:
    with ExitStack() as left:

        def make(cluster: DaskCluster) -> Placement:
            return left.enter_context(closing(DaskPlacement(cluster.address, seconds=5)))

        yield make


def held(placement: Placement, folder: Path, **changes: object) -> Trial:
    """A submitted batch of one element, which runs until it is released."""
    one = Trial(placement, folder / "batch", 90, HOLD, 1)
    one.batch = msgspec.structs.replace(one.batch, **changes)
    one.submit()
    return one


def test_a_scheduler_that_starts_tasks_again_is_refused(own: DaskCluster) -> None:
    own.start_scheduler(allowed_failures=3)
    with pytest.raises(PlacementRefused, match="allowed-failures is 3") as refused:
        find_placement("dask", own.address)
    assert "ALLOWED_FAILURES=0" in refused.value.hint


def test_a_scheduler_with_another_python_is_refused(cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rekindle.executors.dask.PYTHON", "3.9.2")
    with pytest.raises(PlacementRefused, match=r"and this is Python 3\.9\.2"):
        find_placement("dask", cluster.address)


@pytest.mark.parametrize("option", ["GPU=1", "resources.GPU", "resources.=1", "resources.GPU=x", "resources.GPU=-1"])
def test_options_are_resources_with_numbers(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path, option: str
) -> None:
    with pytest.raises(PlacementRefused, match=re.escape(repr(option))):
        held(connect(cluster), tmp_path, options=(option,))


def test_an_address_is_needed_and_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the address"):
        find_placement("dask", None)
    with pytest.raises(UsageError, match="carrier-pigeon"):
        find_placement("dask", "carrier-pigeon://127.0.0.1:1")
    with pytest.raises(PlacementUnreachable, match=r"scheduler at tcp:\S+ does not answer"):
        find_placement("dask", "tcp://127.0.0.1:1")


def test_an_element_waits_for_a_worker_and_for_resources(
    own: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    own.start_scheduler()
    one = held(connect(own), tmp_path, options=("resources.GPU=1",))
    assert one.until(Phase.PENDING)[0].waits_for == "no Dask worker is connected"
    own.start_worker()
    assert one.until(Phase.PENDING)[0].waits_for == "no Dask worker has the resources GPU=1"
    assert not one.poll()[0].never_starts
    own.start_worker("--resources", "GPU=2")
    one.until(Phase.RUNNING)
    one.release()
    assert one.until(Phase.ENDED)[0].cause is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_element_of_a_dead_worker_is_lost_and_its_processes_end(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path, how: signal.Signals
) -> None:
    worker = cluster.start_worker("--resources", f"{how.name}=1")
    one = held(connect(cluster), tmp_path, options=(f"resources.{how.name}=1",))
    evidence = one.until(Phase.RUNNING)[0].evidence
    worker.send_signal(how)
    end = one.until(Phase.ENDED)[0]
    assert (end.cause, end.restarts, end.node_down) == (Cause.LOST, 0, False)
    assert "worker" in end.message
    assert {**evidence, **end.evidence} == end.evidence
    limit = time.monotonic() + 90
    while alive(end.evidence["pid"]):
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert not one.runs(0)
    assert one.starts(0) == 1


def test_a_restarted_scheduler_knows_nothing_and_takes_the_batch_again(
    own: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    scheduler = own.start_scheduler()
    own.start_worker()
    one = held(connect(own), tmp_path)
    one.until(Phase.RUNNING)
    scheduler.kill()
    scheduler.wait()
    with pytest.raises(PlacementUnreachable):
        one.call(one.placement.poll, [one.handle])
    own.start_scheduler(port=int(own.address.rpartition(":")[2]))
    own.start_worker()
    assert one.poll() == {}
    assert one.call(one.placement.adopt, [one.batch.token]) == {}
    one.submit()
    one.until(Phase.RUNNING)
    assert one.starts(0) == 2
    one.release()
    assert one.until(Phase.ENDED)[0].cause is None


def test_an_element_ends_when_its_time_is_over(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    one = held(connect(cluster), tmp_path, seconds=0.5)
    end = one.until(Phase.ENDED)[0]
    assert (end.cause, one.runs(0)) == (Cause.TIMEOUT, False)


def test_what_somebody_cancels_in_dask_is_lost(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    one = held(connect(cluster), tmp_path)
    one.until(Phase.RUNNING)
    with Client(cluster.address, set_as_default=False) as client:
        client.cancel([Future(f"{one.batch.name}-0", client)], force=True)
    end = one.until(Phase.ENDED)[0]
    assert (end.cause, end.message) == (Cause.LOST, "the task was canceled in Dask")
    assert not one.runs(0)


def test_a_limit_on_elements_at_once_is_refused(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    with pytest.raises(PlacementRefused, match="at once"):
        held(connect(cluster), tmp_path, at_once=3)


def test_an_element_that_dask_starts_again_elsewhere_is_counted(
    cluster: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path
) -> None:
    worker = cluster.start_worker("--resources", "MOVED=1")
    one = held(connect(cluster), tmp_path, options=("resources.MOVED=1",))
    first = one.until(Phase.RUNNING)[0].evidence
    cluster.start_worker("--resources", "MOVED=1")
    with Client(cluster.address, set_as_default=False) as client:
        client.retire_workers([first["dask_worker"]])
    worker.wait(60)
    second = one.until(Phase.RUNNING)[0]
    assert (second.restarts, one.starts(0)) == (1, 2)
    assert not alive(first["pid"])
    one.release()
    assert one.until(Phase.ENDED)[0].cause is None


def test_a_scheduler_that_dies_is_an_error_and_no_traceback_in_the_terminal(own: DaskCluster) -> None:
    scheduler = own.start_scheduler()
    program = """
import sys
from rekindle.executors.placement import PlacementUnreachable
from rekindle.executors.dask import DaskPlacement
placement = DaskPlacement(sys.argv[1], seconds=2)
print("connected", flush=True)
sys.stdin.read()
for _ in range(2):
    try:
        placement.poll(["x"])
    except PlacementUnreachable as error:
        print(error.message)
placement.close()
"""
    command = [sys.executable, "-c", program, own.address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "connected\n"
        scheduler.kill()
        scheduler.wait()
        output, errors = process.communicate(timeout=120)
    assert errors == ""
    assert re.fullmatch(r"(the Dask scheduler at tcp:\S+ does not answer: \w.+\n){2}", output)


def test_an_element_of_a_worker_that_does_not_answer_may_still_run(
    own: DaskCluster, connect: Callable[[DaskCluster], Placement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "1s")
    own.start_scheduler()
    worker = own.start_worker()
    one = held(connect(own), tmp_path)
    one.until(Phase.RUNNING)
    with stopped(worker):
        end = one.until(Phase.ENDED)[0]
        assert (end.cause, end.node_down) == (Cause.LOST, True)
        assert one.runs(0)
