"""A new SQLite store is the same, whether the script of today's tables or all migrations make it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from difflib import unified_diff

import pytest

from rekindle.store import schema
from rekindle.store.opening import open_store
from rekindle.store.schema import APPLICATION, TABLES, make_tables, migrate, migrations, newest_version
from rekindle.store.sqlite_connection import FILE
from rekindle.store.stored_paths import StoredPaths


def definitions(sql: str) -> Iterator[str]:
    """Yield a statement without comments and line breaks, each definition of a table by itself."""
    text = " ".join(re.sub("--[^\n]*", "", sql).replace('"', "").split())
    head, bracket, rest = text.partition("(")
    if not text.startswith("CREATE TABLE"):
        head, bracket, rest = text, "", ""
    yield head.strip()
    depth, begin = 0, 0
    for at, character in enumerate(rest):
        if character in ",)" and depth == 0:
            yield f"    {rest[begin:at].strip()}"
            begin = at + 1
        depth += (character == "(") - (character == ")")
    yield f"{bracket and ')'}{rest[begin:]}"


def described(connection: sqlite3.Connection) -> list[str]:
    """Return a database line by line: its stamp; by table the columns, constraints, and indexes and triggers in the
    order in which they were made; and the rows."""
    lines = [
        f"{name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]}" for name in ("application_id", "user_version")
    ]
    found = connection.execute("SELECT tbl_name, type, sql FROM sqlite_master ORDER BY tbl_name, rowid").fetchall()
    for table, kind, sql in found:
        lines += definitions(sql) if sql else [f"-- {kind} of {table}, implied"]
    for table, kind, _ in found:
        if kind == "table":
            lines += [f"row of {table}: {row}" for row in connection.execute(f"SELECT * FROM {table}")]
    return lines


def migrated() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, migrations(), StoredPaths("/project/.rekindle"))
    return connection


def difference(made: sqlite3.Connection, wanted: sqlite3.Connection) -> str:
    """Return what has to change in the script, as a diff; empty if nothing has."""
    return "\n".join(unified_diff(described(made), described(wanted), TABLES.name, "migrations", lineterm=""))


def test_the_script_makes_what_all_migrations_make():
    with closing(sqlite3.connect(":memory:")) as made, closing(migrated()) as wanted:
        make_tables(made)
        assert difference(made, wanted) == ""


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("ALTER TABLE prune ADD COLUMN size INTEGER DEFAULT 1", "-    size INTEGER DEFAULT 1"),
        ("ALTER TABLE prune DROP COLUMN bytes", "+    bytes INTEGER NOT NULL"),
        ("DROP INDEX job_delayed", "+CREATE INDEX job_delayed ON job (not_before) WHERE not_before IS NOT NULL"),
        (
            "DROP INDEX job_held; CREATE INDEX job_held ON job (workflow, state) WHERE held IS NOT NULL",
            "+CREATE INDEX job_held",
        ),
        ("CREATE TRIGGER late AFTER INSERT ON job BEGIN SELECT 1; END", "-CREATE TRIGGER late"),
        ("INSERT INTO meta VALUES ('a', 'b')", "-row of meta: ('a', 'b')"),
        ("PRAGMA user_version = 3", f"+user_version = {newest_version()}"),
    ],
    ids=["added", "dropped", "index", "order", "trigger", "row", "version"],
)
def test_a_difference_is_shown(change, shown):
    with closing(sqlite3.connect(":memory:")) as made, closing(migrated()) as wanted:
        make_tables(made)
        made.executescript(change)
        lines = difference(made, wanted).splitlines()
    assert [line for line in lines if line.startswith(shown)], lines


def test_a_new_store_has_these_tables_and_an_identity_of_its_own(tmp_path):
    open_store(str(tmp_path / "s"), create=True).close()
    with closing(sqlite3.connect(tmp_path / "s" / FILE)) as made, closing(migrated()) as wanted:
        ((key, _),) = made.execute("SELECT key, value FROM meta").fetchall()
        assert key == "identity"
        assert made.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        made.execute("DELETE FROM meta")
        assert difference(made, wanted) == ""
        made.rollback()


def test_a_script_of_an_earlier_version_makes_a_store_that_is_upgraded(tmp_path, monkeypatch):
    script = tmp_path / "tables.sql"
    stamp = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {newest_version() - 1};"
    script.write_text("\n".join([*(step.text for step in migrations()[:-1]), stamp]))
    monkeypatch.setattr(schema, "TABLES", script)
    open_store(str(tmp_path / "s"), create=True).close()
    with closing(sqlite3.connect(tmp_path / "s" / FILE)) as made, closing(migrated()) as wanted:
        made.execute("DELETE FROM meta")
        assert difference(made, wanted) == ""
        made.rollback()
