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
from store_driving import DIAMOND, apply, ids, plan, run, states, submit, undo

from rekindle.domain.errors import BadValue, NotFound, StoreUnavailable, StoreVersion
from rekindle.domain.models import ProcessIdentity
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import State
from rekindle.store.archive import Store
from rekindle.store.database import Access
from rekindle.store.opening import open_store
from rekindle.store.postgres_driver import PostgresDriver
from rekindle.store.postgres_opening import place_of
from rekindle.store.queries import FOLDER, load, written_for_postgres
from rekindle.store.schema import make_tables, migrations, newest_version
from stores import TABLES, every_row, new_store_url

pytestmark = pytest.mark.parametrize("store_url", ["postgres"], indirect=True)

ONLY_SQLITE = ("connection", "damage", "opening", "upgrading")
"""Files of statements about SQLite's file."""

TYPES = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea"}


def run_sql(store: Store, text: str) -> list[tuple[object, ...]]:
    with store.write() as archive:
        return archive.database.driver.execute(text, {}).fetchall()


def test_the_tables_and_columns_are_those_of_sqlite(store):
    with closing(sqlite3.connect(":memory:")) as new:
        make_tables(new)
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


@pytest.mark.parametrize("url", ["postgresql:///science", "postgresql:///science?host=/run/postgresql"])
def test_a_url_without_a_host_keeps_its_slashes(store_url, url):
    assert place_of(url) == (url, url, "rekindle", None)


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


PLANNED_JOBS = """INSERT INTO rerun_job (rerun, job, version, before, after, unmet, start, keeps, reasons, archives,
    pointers, saved, stays, holds, releases, checked, next_attempt, changes, saves)
SELECT planned.rerun, planned.job, planned.version, change.before, change.after, change.unmet, change.start,
    change.keeps,
    replace(change.reasons, '"job":-1',
        '"job":' || coalesce(above.id, 0) || ',"name":"' || coalesce(above.name, '') || '"'),
    replace(change.archives, '-1', CAST(coalesce(planned.own, 0) AS TEXT)),
    CAST(json_build_object('attempt', planned.attempt, 'held', change.held, 'canceled', change.canceled <> 0,
        'next', CAST(coalesce(change.next_before, '{{}}') AS json)) AS TEXT),
    planned.saved, change.stays, change.holds, change.releases, planned.checked, change.next_attempt, change.changes,
    change.saves
FROM {source}.rerun_job AS planned JOIN {source}.rerun_change AS change
    ON change.rerun = planned.rerun AND change.number = planned.change
    LEFT JOIN {source}.job AS above ON above.id = planned.upstream"""


def copy_as_first_version(store: Store, url: str) -> None:
    """Copy rows of a store to a schema of the first version, whose counts and spans were columns of one row each, and
    whose jobs of reruns were whole."""
    place = place_of(url)
    driver = PostgresDriver(place.conninfo, place.schema, place.url)
    driver.begin(Access.WRITE)
    driver.run("create_schema")
    driver.run_text(migrations("postgres")[0].text)
    driver.run("defer_references")
    source = place_of(store.name).schema
    for table in re.findall(r"CREATE TABLE (\w+)", migrations("postgres")[0].text):
        columns = driver.execute(
            "SELECT a.column_name FROM information_schema.columns AS a JOIN information_schema.columns AS b "
            "USING (table_name, column_name) WHERE a.table_schema = :old AND b.table_schema = :new "
            "AND a.table_name = :table AND a.is_generated = 'NEVER'",
            {"old": place.schema, "new": source, "table": table},
        ).fetchall()
        names = ", ".join(name for (name,) in columns)
        copied = f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}.{table}"
        driver.run_text(PLANNED_JOBS.format(source=source) if table == "rerun_job" else copied)
    driver.run_text("UPDATE meta SET value = '1' WHERE key = 'version'")
    driver.run_text(
        f"UPDATE workflow SET started = span.started, ended = span.ended FROM {source}.workflow_span AS span "
        "WHERE span.workflow = workflow.id"
    )
    driver.continue_ids(["event"])
    driver.commit(notify=True)
    driver.close()


def test_a_store_of_the_first_version_is_upgraded_and_goes_on(store, store_url, tmp_path, postgres_server):
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    apply(store, plan(store, [ids(store, workflow)["left"]]))
    older = new_store_url(postgres_server, tmp_path / ".rekindle")
    copy_as_first_version(store, older)
    with closing(open_store(older, create=False)) as upgraded:
        others = ("meta", "rerun_job", "rerun_change")
        assert every_row(upgraded, without=others) == every_row(store, without=others)
        with store.read() as new, upgraded.read() as old:
            assert old.workflows.span(workflow) == new.workflows.span(workflow) != (None, None)
            assert old.check() == []
            assert list(old.reruns.get(1).plan.jobs) == list(new.reruns.get(1).plan.jobs)
        assert ids(upgraded, workflow) == ids(store, workflow)
        undo(upgraded, 1)
        assert states(upgraded, workflow)["left"] is State.FAILED
        apply(upgraded, plan(upgraded, [ids(upgraded, workflow)["left"]]))
        run(upgraded, workflow)
        assert set(states(upgraded, workflow).values()) == {State.COMPLETED}
        with upgraded.read() as old:
            assert old.check() == []
    with closing(open_store(older, create=False)) as again:
        assert run_sql(again, "SELECT value FROM meta WHERE key = 'version'") == [(str(newest_version("postgres")),)]


def test_a_store_that_several_open_at_once_is_upgraded_once(store, tmp_path, postgres_server):
    run(store, submit(store, DIAMOND))
    older = new_store_url(postgres_server, tmp_path / ".rekindle")
    copy_as_first_version(store, older)

    def open_and_check() -> list[str]:
        with closing(open_store(older, create=False)) as opened, opened.read() as archive:
            return archive.check()

    with ThreadPoolExecutor(4) as threads:
        assert [one.result(30) for one in [threads.submit(open_and_check) for _ in range(4)]] == [[]] * 4


def test_a_user_who_may_not_change_tables_is_told_who_may(store, store_url, tmp_path, postgres_server):
    older = new_store_url(postgres_server, tmp_path / ".rekindle")
    copy_as_first_version(store, older)
    schema, reader = place_of(older).schema, f"reader_{place_of(older).schema}"
    with store.write() as archive:
        archive.database.driver.run_text(
            f"CREATE ROLE {reader} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {reader}; "
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}; GRANT pg_monitor TO {reader}"
        )
    with pytest.raises(StoreVersion, match="may not upgrade"):
        open_store(older.replace("postgres@", f"{reader}@"), create=False)


def test_a_transaction_goes_on_with_a_new_connection_after_the_old_one_broke(store):
    workflow = submit(store, DIAMOND)
    driver = store._driver
    with store.read() as archive:
        pid = archive.database.driver.execute("SELECT pg_backend_pid()", {}).fetchone()[0]
    before = store.data_version()
    with psycopg.connect(driver._conninfo, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(StoreUnavailable), store.read() as archive:
        archive.jobs.get([1])
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


@pytest.mark.parametrize("off", [3600, -3600])
def test_leases_are_dated_by_the_servers_clock(store, monkeypatch, off):
    now = time.time()
    with monkeypatch.context() as patch, store.write() as archive:
        patch.setattr(time, "time", lambda: now + off)
        runner = archive.runners.register(ProcessIdentity("h", "boot", 1, 2, 3), "local", 1, now + off, 30.0)
        assert archive.runners.renew(runner.id, 1, now + off + 60.0)
        found = archive.runners.find(runner.id)
    with store.read() as archive:
        other = archive.runners.find(runner.id)
    assert -61 < found.expired_for(now + off) < -50
    assert -61 < other.expired_for(now) < -50


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
