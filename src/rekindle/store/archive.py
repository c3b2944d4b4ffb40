"""An open store, and the two ways to use it: a snapshot, which only reads, and a transaction, which also writes.

Every read and write happens inside one block:

    with store.read() as archive:
        jobs = archive.jobs.get([1, 2])
    with store.write() as archive:
        archive.jobs.hold([1, 2], "checking")

The database refuses the writes of a snapshot. Neither a snapshot nor a transaction, nor any of their repositories, can
be used after the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from rekindle.domain.errors import StoreError
from rekindle.store.database import UNREADABLE, Access, Database, Driver, RowCache
from rekindle.store.stored_paths import StoredPaths

if TYPE_CHECKING:
    from rekindle.store.assessments import Assessments
    from rekindle.store.attempts import Attempts, Subtasks
    from rekindle.store.cached_outputs import CachedOutputRows
    from rekindle.store.canaries import Canaries
    from rekindle.store.database import Listener
    from rekindle.store.documents import Documents
    from rekindle.store.dynamic_actions import DynamicActions
    from rekindle.store.events import Events
    from rekindle.store.fingerprints import Fingerprints, StalenessInputs
    from rekindle.store.forecasts import Forecasts
    from rekindle.store.graphs import Graphs
    from rekindle.store.hooks import Hooks
    from rekindle.store.imports import Imports
    from rekindle.store.job_pages import JobPages
    from rekindle.store.jobs import Jobs
    from rekindle.store.judgements import Judgements
    from rekindle.store.manual_attempts import ManualAttempts
    from rekindle.store.overviews import Overviews
    from rekindle.store.plan_views import PlanViews
    from rekindle.store.queue import Queue
    from rekindle.store.reruns import Reruns
    from rekindle.store.retention import Retention
    from rekindle.store.reuse import ReuseCandidates
    from rekindle.store.runners import Runners
    from rekindle.store.statistics import Statistics
    from rekindle.store.supervisions import Supervisions
    from rekindle.store.temporary_outputs import TemporaryOutputs
    from rekindle.store.tokens import Tokens
    from rekindle.store.verifications import Verifications
    from rekindle.store.workflows import Workflows

PARTS = 16
"""Parts of the counts and spans of workflows, among which runners are divided."""

REPOSITORIES = {
    "workflows": "workflows:Workflows",
    "overviews": "overviews:Overviews",
    "jobs": "jobs:Jobs",
    "documents": "documents:Documents",
    "job_pages": "job_pages:JobPages",
    "queue": "queue:Queue",
    "attempts": "attempts:Attempts",
    "reruns": "reruns:Reruns",
    "plan_views": "plan_views:PlanViews",
    "canaries": "canaries:Canaries",
    "dynamic_actions": "dynamic_actions:DynamicActions",
    "subtasks": "attempts:Subtasks",
    "fingerprints": "fingerprints:Fingerprints",
    "staleness": "fingerprints:StalenessInputs",
    "assessments": "assessments:Assessments",
    "reuse_candidates": "reuse:ReuseCandidates",
    "statistics": "statistics:Statistics",
    "forecasts": "forecasts:Forecasts",
    "imports": "imports:Imports",
    "graphs": "graphs:Graphs",
    "runners": "runners:Runners",
    "supervisions": "supervisions:Supervisions",
    "events": "events:Events",
    "tokens": "tokens:Tokens",
    "hooks": "hooks:Hooks",
    "retention": "retention:Retention",
    "temporary_outputs": "temporary_outputs:TemporaryOutputs",
    "manual_attempts": "manual_attempts:ManualAttempts",
    "judgements": "judgements:Judgements",
    "verifications": "verifications:Verifications",
    "cached_outputs": "cached_outputs:CachedOutputRows",
}
"""The module in `rekindle.store` and the class of each repository. A snapshot imports only those that are used."""


_READ_FIRST = ("retention", "temporary_outputs", "verifications", "forecasts", "manual_attempts")
"""Repositories that few commands use, and that these import before they write."""


class Snapshot:
    """A consistent view of the store during one block. A method that writes changes nothing and makes the block raise
    ReadOnlySnapshot. After the block, every query raises BlockEnded."""

    workflows: Workflows
    overviews: Overviews
    jobs: Jobs
    documents: Documents
    job_pages: JobPages
    queue: Queue
    attempts: Attempts
    reruns: Reruns
    plan_views: PlanViews
    canaries: Canaries
    dynamic_actions: DynamicActions
    subtasks: Subtasks
    fingerprints: Fingerprints
    staleness: StalenessInputs
    assessments: Assessments
    reuse_candidates: ReuseCandidates
    statistics: Statistics
    forecasts: Forecasts
    imports: Imports
    graphs: Graphs
    runners: Runners
    supervisions: Supervisions
    events: Events
    tokens: Tokens
    hooks: Hooks
    retention: Retention
    temporary_outputs: TemporaryOutputs
    manual_attempts: ManualAttempts
    judgements: Judgements
    verifications: Verifications
    cached_outputs: CachedOutputRows

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def database(self) -> Database:
        """The database, for queries of the package rekindle.store."""
        return self._db

    def check(self) -> list[str]:
        """Return a line for each state, unmet count or count that differs from what attempts and edges imply, and for
        each job with two live attempts. An empty list means that the store is consistent."""
        from rekindle.store.integrity import contradictions

        return contradictions(self._db)


class _Repository:
    """An attribute of a snapshot, whose value is made when it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, snapshot: Snapshot, _: type[Snapshot]) -> Any:
        made = snapshot.__dict__[self._name] = _repository(self._name)(snapshot.database)
        return made


for _name in REPOSITORIES:
    setattr(Snapshot, _name, _Repository(_name))


SnapshotOf = TypeVar("SnapshotOf", bound=Snapshot)


class NotAlone(Exception):
    """A turn needs a transaction beside which nobody writes. Its caller repeats it in one: see `Store.write`."""


class Transaction(Snapshot):
    """One transaction that may write, exclusive among all processes unless it is a turn. Committed at the end of the
    block; rolled back if the block raises."""

    def require_alone(self) -> None:
        """Raise NotAlone if others may write meanwhile."""
        if self._db.shared:
            raise NotAlone
        if self._db.is_turn:
            _write_collected(self._db)


class Store:
    """An open store. Not for use by several threads at once.

    `identity` is the store's UUID. `folder` is absolute and holds the journals and the attempts' folders. `notice` is a
    message for the user about what opening the store has changed, or empty.
    """

    def __init__(self, driver: Driver, folder: str, identity: str) -> None:
        self.identity = identity
        self.folder = folder
        self.notice = ""
        self._driver = driver
        self._paths = StoredPaths(folder)
        self._cache = RowCache()
        self._closed = False
        self._by: str | None = None

    @contextmanager
    def written_by(self, by: str) -> Iterator[None]:
        """Record who writes: each event and rerun that is written in the block has this name as `by`."""
        before, self._by = self._by, by
        try:
            yield
        finally:
            self._by = before

    def read(self) -> AbstractContextManager[Snapshot]:
        """Return the block of a snapshot."""
        return self._block(Snapshot, Access.READ)

    def write(self) -> AbstractContextManager[Transaction]:
        """Return the block of a transaction."""
        _import_all()  # and nothing while other processes wait for the transaction
        return self._block(Transaction, Access.WRITE)

    def turn(self, runner: int = 0) -> AbstractContextManager[Transaction]:
        """Return the block of a transaction in which a runner claims jobs, starts and completes its own, and nothing
        else: what does more calls `Transaction.require_alone`.

        In PostgreSQL the turns of several runners run at once, and other transactions wait for them; in SQLite it is
        `write`. Rows of jobs and attempts are locked by the runner that claimed them, children by the order of their
        ids, and last the runner's part of counts and spans. The locks are taken with the first statement. Only turns in
        which attempts end, or jobs become ready, change the data version of others."""
        _import_all()
        return self._block(Transaction, Access.TURN, runner)

    def compact(self) -> tuple[int, int]:
        """Give free pages back to the file system. Return the bytes of the database before and after. Raise StoreError
        if that fails: nothing is lost then."""
        if self._closed:
            raise StoreError(f"the store {self.name} is closed", hint="open it again")
        try:
            return self._driver.compact()
        except self._driver.errors as error:
            raise self._driver.translate(error, Access.WRITE) from error

    def data_version(self) -> int:
        """Return a number that changes when another connection commits. Raise StoreUnavailable if the store has been
        removed or replaced."""
        return self._driver.data_version()

    def notify(self, runners: Iterable[int]) -> None:
        """Notify runners on other hosts that the store has changed. Does nothing in SQLite, whose runners are all on
        this host."""
        self._driver.notify(runners)

    def listen(self, runner: int) -> Listener | None:
        """Return what hears the notifications for a runner of this process; None in SQLite."""
        return self._driver.listen(runner)

    @property
    def name(self) -> str:
        """The store's folder, or the URL of its rows."""
        return self._driver.name

    @property
    def is_on_server(self) -> bool:
        """Return whether other hosts can open the store too."""
        return self._driver.dialect == "postgres"

    def close(self) -> None:
        """Close the connection. Raise StoreError for what is read or written after that."""
        self._closed = True
        self._driver.close()

    @contextmanager
    def _block(self, kind: Callable[[Database], SnapshotOf], access: Access, runner: int = 0) -> Iterator[SnapshotOf]:
        """Run a block with a snapshot of a `kind` in a transaction, and translate the errors of the database and of
        damaged rows."""
        if self._closed:
            raise StoreError(f"the store {self.name} is closed", hint="open it again")
        is_turn = access is Access.TURN
        shared = is_turn and self._driver.dialect == "postgres"
        part = runner % PARTS if shared else 0
        database = Database(self._driver, self._paths, self._cache, shared=shared, is_turn=is_turn, part=part)
        database.by = self._by
        errors: tuple[type[Exception], ...] = (*self._driver.errors, *UNREADABLE)
        try:
            self._driver.begin(access)
            try:
                yield kind(database)
                if database.is_turn:
                    _write_collected(database)
                self._driver.commit(notify=database.concerns_others)
            finally:
                database.end()
                if self._driver.roll_back():  # the block raised, or the commit failed
                    self._cache.clear()
        except errors as error:
            found = self._driver.translate(error, access)
            if found is error:
                raise
            raise found from error


def _write_collected(database: Database) -> None:
    """Write the counts and spans that a turn has collected."""
    from rekindle.store.derived import write_shared_rows

    write_shared_rows(database)


@cache
def _import_all() -> None:
    """Import all repositories, and what only their writes use."""
    for name in REPOSITORIES:
        if name not in _READ_FIRST:
            _repository(name)
    import_module("rekindle.store.revisions")


@cache
def _repository(name: str) -> type[Any]:
    """Import the class of a repository."""
    module, _, kind = REPOSITORIES[name].partition(":")
    found: type[Any] = getattr(import_module(f"rekindle.store.{module}"), kind)
    return found
