"""SQL blocks are described and used, no SQL is elsewhere, and the schema is that of the migrations."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from rekindle.store import queries, schema
from rekindle.store.queries import (
    FOLDER,
    Query,
    as_set,
    load,
    written_for_many,
    written_for_postgres,
    written_for_sqlite,
    written_for_sqlite_many,
    written_for_sqlite_rows,
)
from rekindle.store.sqlite_connection import execute_rows
from rekindle.store.stored_paths import StoredPaths

STORE = Path(queries.__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.sql"))
CODE = {path.name: path.read_text() for path in STORE.glob("*.py")}


@pytest.mark.parametrize("file", FILES)
def test_every_block_is_described_and_used(file):
    text = (FOLDER / f"{file}.sql").read_text()
    blocks = load(file)
    assert blocks
    code = "".join(source for source in CODE.values() if f'load("{file}")' in source)
    assert code, f"nobody loads {file}.sql"
    unused = [
        name
        for name, query in blocks.items()
        if f'"{name}"' not in code
        and f"{{{name}}}" not in text
        and not (file == "predicates" and re.match("field_|state_", name))
        and file != "deleting"
    ]
    assert unused == []
    assert all(len(query.about) > 5 for query in blocks.values())


def test_every_field_has_its_fragment():
    from rekindle.domain.selection import FIELDS
    from rekindle.domain.states import State

    wanted = {"field_" + name.replace(".", "_") for name in FIELDS} | {f"state_{state.label}" for state in State}
    assert {name for name in load("predicates") if re.match("field_|state_", name)} == wanted


def test_there_is_no_sql_in_the_code_but_where_sets_are_written_out():
    statement = re.compile(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE TABLE)\b")
    assert [name for name, text in CODE.items() if statement.search(text)] == ["queries.py"]


def test_there_is_no_sql_that_only_sqlite_knows():
    text = "".join((FOLDER / f"{file}.sql").read_text() for file in FILES)
    assert re.findall(r"INSERT OR|REPLACE INTO|rowid|IFNULL|AUTOINCREMENT", text) == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nSELECT 1;", "description"),
        ("-- name: a\n-- About.\n", "statement"),
        ("-- name: a\n-- About.\nSELECT 1;\n-- name: a\n-- About.\nSELECT 1;", "two blocks"),
        ("-- name: a\n-- About.\n-- row: x\nSELECT :x, :y;", "columns"),
        ("-- name: a\n-- About.\n-- row: x, y\nSELECT :x;", "columns"),
    ],
)
def test_a_block_that_is_not_as_it_should_be_is_refused(folder, text, complaint):
    (folder / "bad.sql").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        list(load("bad").values())


def test_sets_parts_and_rows_are_written_out(folder):
    (folder / "good.sql").write_text(
        "-- name: columns\n-- About.\na, b;\n\n-- name: some\n-- About.\nSELECT {columns} FROM t WHERE a IN @ids;\n"
        "-- name: set\n-- About.\n-- row: b, a\nUPDATE t SET b = :b WHERE a = :a AND b <> :b;"
    )
    blocks = load("good")
    some, both = blocks["some"], blocks["set"]
    assert written_for_sqlite(some.text) == "SELECT a, b FROM t WHERE a IN (SELECT value FROM json_each(:ids))"
    text, ordered = written_for_sqlite_rows(both)
    assert text == "UPDATE t SET b = ? WHERE a = ? AND b <> ?"
    assert ordered(("b", "a")) == ("b", "a", "b")
    assert written_for_postgres(some.text) == ("SELECT a, b FROM t WHERE a = ANY($1)", ("ids",))
    assert written_for_postgres(both.text, both.row) == ("UPDATE t SET b = $1 WHERE a = $2 AND b <> $1", ("b", "a"))


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.sql")))
def test_rows_are_bound_by_position_as_every_python_takes_them(file):
    """Python 3.14 refuses a tuple for `:name`; Python before 3.12.4 warns of a tuple for `?1`."""
    for query in load(file).values():
        if query.row:
            text, ordered = written_for_sqlite_rows(query)
            assert re.findall(r"(?<!:):[a-z]\w*|\?[0-9]+", text) == []
            assert text.count("?") == len(query.row if ordered is None else ordered(query.row))


def test_a_block_differs_between_the_databases_if_a_part_of_it_does():
    renew = load("runners")["renew"]
    assert "clock_timestamp()" in renew.postgres
    assert "clock_timestamp()" not in renew.text


def test_an_insert_of_one_row_becomes_one_of_several():
    insert = "INSERT INTO t (a, b) VALUES (?, 2)\nON CONFLICT (a) DO UPDATE SET b = excluded.b"
    assert written_for_sqlite_many(insert, 3) == (
        "INSERT INTO t (a, b) VALUES (?, 2), (?, 2), (?, 2)\nON CONFLICT (a) DO UPDATE SET b = excluded.b"
    )
    assert written_for_sqlite_many("INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = ?", 3) is None
    assert written_for_sqlite_many("INSERT INTO t (a) VALUES (abs(?))", 3) is None
    assert written_for_sqlite_many("UPDATE t SET a = ?", 3) is None


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_sqlite_inserts_each_of_any_number_of_rows(count):
    query = Query("insert", "", "INSERT INTO t (b, a) VALUES (:b, :a)", row=("a", "b"), distinct=True)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    rows = [(n, f"row {n}") for n in range(count)]
    assert execute_rows(connection, query, iter(rows)) == count
    assert connection.execute("SELECT a, b FROM t ORDER BY a").fetchall() == rows
    connection.close()


def test_a_statement_for_one_row_becomes_one_for_many():
    insert = "INSERT INTO t (a, b, c) VALUES ($1, 2, $2)\nON CONFLICT (a) DO UPDATE SET b = excluded.b"
    assert written_for_many(insert, ["bigint", "text"]) == (
        "INSERT INTO t (a, b, c) SELECT given.given_1, 2, given.given_2 "
        "FROM unnest($1::bigint[], $2::text[]) AS given (given_1, given_2) WHERE true\n"
        "ON CONFLICT (a) DO UPDATE SET b = excluded.b"
    )
    update = "UPDATE t SET a = (SELECT x FROM u WHERE y = $1) WHERE b = $2 AND NOT EXISTS (SELECT 1 WHERE c = 0)"
    assert written_for_many(update, ["bigint", "bigint"]) == (
        "UPDATE t SET a = (SELECT x FROM u WHERE y = given.given_1) "
        "FROM unnest($1::bigint[], $2::bigint[]) AS given (given_1, given_2) "
        "WHERE b = given.given_2 AND NOT EXISTS (SELECT 1 WHERE c = 0)"
    )


def test_a_set_leaves_out_integers_that_no_column_can_hold():
    assert as_set([1, 2**63 - 1, 2**63, -(2**63) - 1, "x"]).values == [1, 2**63 - 1, "x"]


def shape(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def test_a_gap_in_the_migrations_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "sqlite" / "0002_late.sql").write_text("")
    with pytest.raises(ValueError, match="0002_late"):
        schema.migrations()


def test_a_migration_that_fails_changes_nothing():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    broken = schema.Migration(1, "broken", "CREATE TABLE a (b); CREATE TABLE a (b);")
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, [broken], StoredPaths("/s/.rekindle"))
    connection.rollback()
    assert shape(connection) == []
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()
