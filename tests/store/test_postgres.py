"""PostgreSQL: the schema is that of SQLite, every statement is accepted, URLs, spools, and values that differ."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from store_driving import DIAMOND, ids, run, submit

from rekindle.domain.errors import BadValue, NotFound, StoreUnavailable, StoreVersion
from rekindle.domain.selection import Compare, Op
from rekindle.store.archive import Store
from rekindle.store.opening import open_store
from rekindle.store.queries import FOLDER, load, written_for_postgres
from rekindle.store.schema import migrations
from stores import TABLES, new_store_url

pytestmark = pytest.mark.parametrize("store_url", ["postgres"], indirect=True)

ONLY_SQLITE = ("connection", "damage", "opening", "upgrading")
"""Files of statements about SQLite's file."""

TYPES = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea"}


def run_sql(store: Store, text: str) -> list[tuple[object, ...]]:
    with store.write() as archive:
        return archive.database.driver.execute(text, {}).fetchall()


def test_the_tables_and_columns_are_those_of_sqlite(store):
    with closing(sqlite3.connect(":memory:")) as new:
        for step in migrations():
            new.executescript(step.text)
        wanted = {
            (table, name, TYPES[kind.split()[0]], bool(required or key), bool(hidden))
            for table in TABLES
            for _, name, kind, required, _, key, hidden in new.execute(f"PRAGMA table_xinfo({table})")
        }
        indexes = {name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%INDEX%'")}
    found = run_sql(
        store,
        "SELECT table_name, column_name, data_type, is_nullable, is_generated FROM information_schema.columns "
        "WHERE table_schema = current_schema()",
    )
    assert {(table, name, kind, null == "NO", made == "ALWAYS") for table, name, kind, null, made in found} == wanted
    there = {name for (name,) in run_sql(store, "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")}
    assert indexes <= there


def test_texts_are_compared_by_their_bytes(store):
    found = run_sql(
        store,
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
    )
    assert found == []


def test_every_statement_is_accepted(store):
    prepared = 0
    with store.write() as archive:
        for file in sorted(path.stem for path in FOLDER.glob("*.sql") if path.stem not in ONLY_SQLITE):
            for query in load(file).values():
                text = re.sub(r"\{(scope|where)\}", "1 = 1", query.text).replace("{columns}", "")
                if not re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text) or re.search(r"\{[a-z_]+\}", text):
                    continue
                if text.endswith(")") and text.startswith("WITH") and "SELECT" not in text.rpartition("\n)")[2]:
                    continue  # the beginning of other statements
                if not text.startswith("WITH"):
                    text = re.sub(r"\bclass\.id\b", "1", text)
                written, _ = written_for_postgres(text, query.row)
                archive.database.driver.run_text(f"PREPARE found AS {written}")
                archive.database.driver.run_text("DEALLOCATE found")
                prepared += 1
    assert prepared > 300


def test_who_made_a_store_knows_it_as_everybody_else(store, store_url):
    with closing(open_store(store_url, create=False)) as again:
        assert again._driver.file == store._driver.file
        assert "None" not in store._driver.file


def test_a_store_is_found_by_its_spool(store, tmp_path):
    workflow = submit(store, DIAMOND)
    with closing(open_store(str(tmp_path / ".rekindle"), create=False)) as again:
        assert again.identity == store.identity
        assert list(ids(again, workflow)) == ["top", "left", "right", "bottom"]


def test_a_spool_that_was_moved_is_used_where_it_is(store, store_url, tmp_path):
    (tmp_path / ".rekindle").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match=r"spool of the store .* is not there"):
        open_store(store_url, create=False)
    with closing(open_store(str(tmp_path / "elsewhere"), create=False)) as again:
        assert again.folder == str(tmp_path / "elsewhere")
    with closing(open_store(store_url, create=False)) as again:
        assert again.folder == str(tmp_path / "elsewhere")


def test_a_copy_of_a_spool_is_refused(store, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "database").write_text((tmp_path / ".rekindle" / "database").read_text())
    with pytest.raises(StoreUnavailable, match=r"copy of .*rekindle, the spool"):
        open_store(str(tmp_path / "copy"), create=False)


def test_a_folder_with_files_does_not_become_a_spool(store_url, tmp_path):
    (tmp_path / ".rekindle").mkdir()
    (tmp_path / ".rekindle" / "mine").touch()
    with pytest.raises(BadValue, match="it holds mine"):
        open_store(store_url, create=True)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://me:secret@host/db", r"me:…@host/db"),
        ("postgresql://me@host/db?password=secret", "has a password"),
        ("postgresql://host/db?schema=Bad-Name", "no schema can be called 'Bad-Name'"),
        ("postgresql://host/db?schema=pg_toast", "no schema can be called"),
    ],
)
def test_a_bad_url_is_refused_and_no_password_is_shown(store_url, url, complaint):
    with pytest.raises(BadValue, match=complaint) as caught:
        open_store(url, create=True)
    assert "secret" not in str(caught.value)


def test_a_store_that_is_not_there_is_not_made_unasked(store_url):
    with pytest.raises(NotFound):
        open_store(store_url, create=False)


def test_a_server_that_is_not_there_is_named(store_url, tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        open_store(f"postgresql:///db?host={tmp_path}", create=True)


def test_a_store_of_a_newer_version_is_refused(store, store_url):
    with store.write() as archive:
        archive.database.driver.execute("UPDATE meta SET value = '99' WHERE key = 'version'", {})
    with pytest.raises(StoreVersion, match="99"):
        open_store(store_url, create=False)


def test_a_transaction_goes_on_with_a_new_connection_after_the_old_one_broke(store):
    workflow = submit(store, DIAMOND)
    driver = store._driver
    with store.read() as archive:
        pid = archive.database.driver.execute("SELECT pg_backend_pid()", {}).fetchone()[0]
    before = store.data_version()
    with psycopg.connect(driver._conninfo, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(StoreUnavailable), store.read() as archive:
        archive.jobs.count()
    assert list(ids(store, workflow)) == ["top", "left", "right", "bottom"]
    assert store.data_version() != before


def test_the_data_version_follows_other_connections_only(store, store_url):
    with closing(open_store(store_url, create=False)) as other:
        before = store.data_version()
        submit(store, DIAMOND)
        assert store.data_version() == before
        submit(other, DIAMOND)
        deadline = time.monotonic() + 10
        while store.data_version() == before and time.monotonic() < deadline:
            time.sleep(0.001)
        assert store.data_version() != before


def test_commits_of_others_are_counted_while_a_connection_is_made(store, store_url):
    """Connect until a connection hears of a commit as soon as it listens."""
    done = threading.Event()

    def commit() -> None:
        with closing(open_store(store_url, create=False)) as other:
            while not done.is_set():
                with other.write():
                    pass

    with ThreadPoolExecutor(2) as threads:
        busy = [threads.submit(commit) for _ in range(2)]
        try:
            for _ in range(30):
                open_store(store_url, create=False).close()
        finally:
            done.set()
        for one in busy:
            one.result(30)


def test_values_that_only_sqlite_stores_are_kept_in_another_form_or_match_nothing(store):
    workflow = submit(store, {"a": []})
    run(store, workflow)
    with store.write() as archive:
        archive.jobs.hold([1], "a\0b")
    with store.read() as archive:
        assert archive.jobs.get([1])[0].held == "a\u2400b"
        assert archive.jobs.get([10**30]) == []
        assert archive.jobs.select(Compare("name", Op.IN, ("a", "\0")), workflow) == [1]


def test_eight_stores_share_a_database(store, postgres_server, tmp_path):
    opened = [open_store(new_store_url(postgres_server, tmp_path / f"s{n}"), create=True) for n in range(8)]
    for number, one in enumerate(opened):
        submit(one, {f"job{number}": []})
    assert [list(ids(one, 1)) for one in opened] == [[f"job{number}"] for number in range(8)]
    for one in opened:
        one.close()


def test_a_spool_is_private(store, tmp_path):
    assert Path(store.folder).stat().st_mode & 0o777 == 0o700
