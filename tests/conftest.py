"""For all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings

from dask_cluster import shared_dask
from forked_workers import WorkerHost
from rekindle.domain.models import Job, StateChange
from rekindle.domain.states import State
from rekindle.engine.session import open_session
from rekindle.store.archive import Store
from rekindle.store.database import Access
from shared import folder_of_run
from slurm_cluster import Slurm, shared_slurm
from stores import make_stores_in_postgres, missing_postgres, running_postgres

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("rekindle", deadline=None)
settings.load_profile("rekindle")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a database on a server of this session's own."""
    if reason := missing_postgres():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rekindle-pg-") as folder, running_postgres(Path(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def slurm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster of 4 nodes of 4 cpus with accounting, which all processes of this test run share."""
    with shared_slurm(folder_of_run(request, tmp_path_factory)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def dask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Dask cluster of 4 threads, which all processes of this test run share."""
    with shared_dask(folder_of_run(request, tmp_path_factory)) as address:
        yield address


OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PYTHONUNBUFFERED")


def pytest_configure() -> None:
    """Undo what the shell or the job that runs the tests has set, and processes that tests start would inherit: signals
    ignored by nohup or in the background, the mask of new files, variables of its terminal and of a store."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for name in list(os.environ):
        if name in OF_A_TERMINAL or name.startswith("REKINDLE_"):
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the bytecode of the tests, also where PYTHONDONTWRITEBYTECODE is set: two thirds of the processor time of a
    collection compile them. What a test imports is up to the variable."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before


def pytest_collection_finish() -> None:
    """Leave the tests themselves, and the modules that they have imported, to no later garbage collection: each full
    one would take four tenths of a second."""
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store", choices=["sqlite", "postgres"], default="sqlite", help="where tests that do not say so keep stores"
    )
    parser.addoption("--write", action="store_true", help="write to each page what its commands print")


FOLDERS_OF_FORKED_WORKERS = ("cli", "dialects", "engine")


@pytest.fixture(scope="session")
def worker_host() -> Iterator[WorkerHost]:
    """What forks workers for this process."""
    host = WorkerHost(os.environ)
    yield host
    host.close()


@pytest.fixture(autouse=True)
def workers_of_all_tests(
    request: pytest.FixtureRequest, worker_host: WorkerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In folders whose tests are not about processes, fork the workers of this process. Modules that are about them
    say `pytestmark = pytest.mark.new_interpreters`."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in FOLDERS_OF_FORKED_WORKERS and request.node.get_closest_marker("new_interpreters") is None:
        monkeypatch.setattr(os, "posix_spawn", worker_host.spawn)


@pytest.fixture(autouse=True)
def stores_of_all_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--store postgres`, the stores that tests make in their own process are in PostgreSQL."""
    if request.config.getoption("--store") == "postgres":
        make_stores_in_postgres(request.getfixturevalue("postgres_server"), monkeypatch)


class Interruption:
    """Changes the state of a job in another connection, before the n-th block that the command opens in the store."""

    def __init__(self, folder: Path, job: str, before: State, after: State) -> None:
        self.folder, self.job, self.before, self.after = folder, job, before, after
        self.reached = False  # the command opened that many blocks
        self.changed = False  # the job was still in the state `before`
        self.held = False  # the job was held already

    def now(self) -> None:
        """Change the state of the job."""
        self.reached = True
        with open_session(str(self.folder / ".rekindle"), create=False) as other, other.store.write() as archive:
            [number] = archive.jobs.named([self.job], None)[self.job]
            [job] = archive.jobs.flags([number])
            if job.state is self.before:
                archive.queue.move([StateChange(job.id, job.workflow, job.resource_class, self.before, self.after)])
                self.changed, self.held = True, job.held is not None

    def found(self) -> Job:
        """Return the job."""
        with open_session(str(self.folder / ".rekindle"), create=False) as session, session.store.read() as archive:
            return archive.jobs.get(archive.jobs.named([self.job], None)[self.job])[0]


@pytest.fixture
def interruption() -> type[Interruption]:
    """The class, for a test that says itself when the job changes."""
    return Interruption


@pytest.fixture
def interruptions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Iterator[Interruption]]:
    """Yield an interruption before each block in turn, in a fresh copy of the store each time, until the command opens
    no more blocks."""

    def each(
        folder: Path, job: str, before: State = State.FAILED, after: State = State.COMPLETED
    ) -> Iterator[Interruption]:
        store, kept = folder / ".rekindle", folder / "kept"
        shutil.copytree(store, kept)
        block = Store._block
        for number in count():
            shutil.rmtree(store)
            shutil.copytree(kept, store)
            one, left = Interruption(folder, job, before, after), [number]

            def interrupted(
                self: Store, kind: type[Any], access: Access, one: Interruption = one, left: list[int] = left
            ) -> AbstractContextManager[Any]:
                left[0] -= 1
                if left[0] == -1:
                    one.now()
                return block(self, kind, access)

            monkeypatch.setattr(Store, "_block", interrupted)
            yield one
            monkeypatch.setattr(Store, "_block", block)
            if not one.reached:
                assert number > 1
                return

    return each
