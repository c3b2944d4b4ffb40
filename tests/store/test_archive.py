"""Snapshots refuse to write, and neither snapshots nor transactions work after their block."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from unittest.mock import MagicMock

import pytest
from store_driving import DIAMOND, ids, run, submit

from rekindle.domain.selection import AllOf, JobFilter
from rekindle.store.archive import REPOSITORIES, Snapshot, Store, Transaction
from rekindle.store.database import BlockEnded, Database, ReadOnlySnapshot
from rekindle.store.opening import open_store
from rekindle.store.queries import FOLDER, Query, load
from stores import every_row, new_store_url

NOT_OF_THE_ARCHIVE = ("connection", "copying", "damage", "opening", "postgres", "upgrading")
"""Files of statements that run on a connection, outside blocks, or whose tables are filled in."""

WRITES = {
    f"{file}.{name}": query
    for file in sorted(path.stem for path in FOLDER.glob("*.sql"))
    if file not in NOT_OF_THE_ARCHIVE
    for name, query in load(file).items()
    if query.text.split()[0] in ("INSERT", "UPDATE", "DELETE")
}


class _Anything(MagicMock):
    """An argument that looks like a collection of one element."""

    def __iter__(self):
        return iter([1])


def every_call(archive: Snapshot) -> Iterator[tuple[str, object]]:
    """Yield the name and a call of every public method of every repository, with arguments that may make no sense."""
    for attribute in REPOSITORIES:
        repository = getattr(archive, attribute)
        for name, method in inspect.getmembers(repository, inspect.ismethod):
            if name.startswith("_"):
                continue
            arguments = {
                parameter.name: _argument(str(parameter.annotation))
                for parameter in inspect.signature(method).parameters.values()
            }
            yield f"{attribute}.{name}", lambda method=method, arguments=arguments: _use(method(**arguments))


def _argument(annotation: str) -> object:
    if annotation.startswith(("int", "float", "bool")):
        return 1
    if annotation.startswith("str"):
        return "x"
    if annotation.startswith(("Sequence[int]", "Collection[int]", "Iterable[int]", "Sequence[int | str]")):
        return [1]
    if annotation.startswith(("Collection[str]", "Iterable[str]")):
        return ["x"]
    if annotation.startswith("Mapping[int, int]"):
        return {1: 1}
    return {"Predicate": AllOf(), "Chosen": JobFilter(), "Chosen | None": None}.get(annotation, _Anything())


def _use(result: object) -> None:
    if inspect.isgenerator(result):
        next(result, None)


@contextmanager
def traced(store: Store) -> Iterator[list[str]]:
    """Collect the statements that reach the database."""
    statements: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "execute_each", "stream"):
            patch.setattr(store._driver, name, lambda text, *_: statements.append(text))
        yield statements


def write_nothing(database: Database, query: Query) -> None:
    if query.row:
        database.change_each(query, [(None,) * len(query.row)])
    else:
        database.change(query, **dict.fromkeys(_parameters(query)))


def _parameters(query: Query) -> list[str]:
    return re.findall(r"(?<!:)[:@]([a-z_]+)", query.text)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store in which tests only try to write."""
    folder = tmp_path_factory.mktemp("empty") / "s"
    postgres = request.param == "postgres"
    url = new_store_url(request.getfixturevalue("postgres_server"), folder) if postgres else str(folder)
    with closing(open_store(url, create=True)) as store:
        yield store


@pytest.mark.parametrize("name", WRITES)
def test_a_snapshot_refuses_every_statement_that_writes(empty, name):
    with pytest.raises(ReadOnlySnapshot, match="cannot write"), empty.read() as archive:
        write_nothing(archive._db, WRITES[name])


def test_a_snapshot_that_tries_to_hold_a_job_changes_nothing(store):
    jobs = ids(store, submit(store, DIAMOND))
    with pytest.raises(ReadOnlySnapshot, match=r"store\.write"), store.read() as archive:
        archive.jobs.hold([jobs["top"]], "x")
    with store.read() as archive:
        assert archive.jobs.get([jobs["top"]])[0].held is None
    with store.write() as archive:
        archive.jobs.hold([jobs["top"]], "x")
    with store.read() as archive:
        assert archive.jobs.get([jobs["top"]])[0].held == "x"


def test_no_method_of_a_snapshot_changes_a_row(store):
    workflow = submit(store, DIAMOND)
    run(store, workflow)
    before = every_row(store)
    with suppress(ReadOnlySnapshot), store.read() as archive:
        for _, call in every_call(archive):
            with suppress(Exception):
                call()
    assert every_row(store) == before


def test_a_transaction_is_a_snapshot_that_also_writes(store):
    with store.write() as archive:
        assert isinstance(archive, Transaction)
    with store.read() as archive:
        assert isinstance(archive, Snapshot)
        assert not isinstance(archive, Transaction)


@pytest.mark.parametrize("block", ["read", "write"])
def test_no_method_reaches_the_database_after_its_block(store, block):
    run(store, submit(store, DIAMOND))
    with getattr(store, block)() as archive:
        calls = list(every_call(archive))
    refused = set()
    with traced(store) as statements:
        for name, call in calls:
            try:
                call()
            except BlockEnded:
                refused.add(name)
            except Exception:  # noqa: BLE001  # the arguments make no sense to this method
                continue
    assert statements == []
    assert {"jobs.hold", "jobs.get", "jobs.select", "queue.move", "workflows.delete", "runners.damage"} <= refused
    assert len(refused) > 0.8 * len(calls), sorted({name for name, _ in calls} - refused)


def test_a_transaction_that_ended_writes_nothing_and_says_why(store):
    jobs = ids(store, submit(store, DIAMOND))
    with store.write() as archive:
        kept = archive.jobs
    with pytest.raises(BlockEnded, match="after its block"):
        kept.hold([jobs["top"]], "late")
    with pytest.raises(BlockEnded, match="after its block"):
        archive.check()
    with store.read() as snapshot:
        assert snapshot.jobs.get([jobs["top"]])[0].held is None


def test_an_archive_is_refused_after_a_block_that_failed(store):
    with pytest.raises(ZeroDivisionError), store.write() as archive:
        raise ZeroDivisionError
    with pytest.raises(BlockEnded):
        archive.workflows.listing()


def test_an_archive_of_an_earlier_block_is_refused_within_the_next(store):
    with store.write() as earlier:
        pass
    with store.write() as archive:
        archive.events.add(1.0, "note", None, {})
        with pytest.raises(BlockEnded):
            earlier.events.add(1.0, "note", None, {})
    with store.read() as archive:
        assert archive.events.count(None) == 1


def test_rows_cannot_be_streamed_beyond_the_block(store):
    submit(store, DIAMOND)
    with store.read() as archive:
        page = archive.jobs.listing(JobFilter(), None, 0)
        next(page)
    with pytest.raises(BlockEnded):
        next(page)
