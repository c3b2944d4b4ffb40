"""Copies of stores between places and databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from store_driving import DIAMOND, apply, ids, plan, run, submit

from rekindle.domain.errors import Refused
from rekindle.domain.rerun.request import How
from rekindle.store.archive import Store
from rekindle.store.copying import copy_store
from rekindle.store.opening import open_store
from stores import TABLES, new_store_url


@pytest.fixture
def lived(store: Store) -> Store:
    """A store with attempts, a failure, a rerun and files."""
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    apply(store, plan(store, [ids(store, workflow)["left"]], How()))
    run(store, workflow)
    (Path(store.folder) / "attempts" / "0000").mkdir(parents=True)
    (Path(store.folder) / "attempts" / "0000" / "out").write_text("kept")
    return store


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    folder = tmp_path / "target"
    postgres = request.param == "postgres"
    url = new_store_url(request.getfixturevalue("postgres_server"), folder) if postgres else str(folder)
    with closing(open_store(url, create=True)) as made:
        yield made


def rows(store: Store) -> dict[str, object]:
    with store.read() as archive:
        found = {table: archive.database.select(f"SELECT * FROM {table} ORDER BY 1, 2", {}) for table in TABLES}
    found["meta"] = [row for row in found["meta"] if row[0] not in ("version", "spool")]
    return found


def test_a_copy_has_the_same_rows_and_files_and_goes_on(lived, target):
    report = copy_store(lived, target, lambda _: None)
    assert rows(target) == rows(lived)
    assert report.rows["job"] == 4
    assert (Path(target.folder) / "attempts" / "0000" / "out").read_text() == "kept"
    assert report.file_bytes == 4
    workflow = submit(target, {"later": []}, name="later")
    run(target, workflow)
    apply(target, plan(target, list(ids(target, workflow).values()), How()))
    with target.read() as archive:
        assert archive.check() == []
        assert len(archive.reruns.listing(None)) == 2


def test_there_and_back_is_the_same_store(lived, target, tmp_path):
    copy_store(lived, target, lambda _: None)
    with closing(open_store(str(tmp_path / "back"), create=True)) as back:
        copy_store(target, back, lambda _: None)
        assert rows(back) == rows(lived)


def test_a_store_with_workflows_is_not_overwritten(lived, target):
    submit(target, {"a": []})
    before = rows(target)
    with pytest.raises(Refused, match="has workflows already"):
        copy_store(lived, target, lambda _: None)
    assert rows(target) == before


def test_a_store_that_is_worked_on_is_not_copied(lived, target):
    from rekindle.engine.presence import this_process

    with lived.write() as archive:
        archive.runners.register(this_process(), "local", 1, 0.0, 30.0)
    with pytest.raises(Refused, match="has not ended"):
        copy_store(lived, target, lambda _: None)
    assert rows(target)["job"] == []
