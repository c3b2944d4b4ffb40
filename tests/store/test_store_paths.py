"""Stored paths: relative to the store, decoded to absolute ones, and encoded when an older store is upgraded."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.changes.fingerprints import Baseline, FileContent, FileFingerprints
from rekindle.domain.rerun.plan import Reason, ReasonKind, SavedFile
from rekindle.store.opening import FILE, SQL, open_store
from rekindle.store.path_upgrade import encode_paths
from rekindle.store.schema import migrate, migrations
from rekindle.store.sqlite_connection import connect
from rekindle.store.stored_paths import StoredPaths, moved

PARTS = st.sampled_from(["p", "q", ".rekindle", "data", "..", ".x", "a b", "@", "café"])
PATHS = st.lists(PARTS, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
STORES = st.sampled_from(["/p/.rekindle", "/.rekindle", "/p/q/store", "/p q/@/.rekindle"])


@given(store=STORES, path=PATHS)
def test_a_path_is_decoded_as_it_was(store, path):
    paths = StoredPaths(store)
    stored = paths.encode(path)
    assert os.path.normpath(paths.decode(stored)) == os.path.normpath(path)
    assert paths.encode(paths.decode(stored)) == stored


@given(store=STORES, other=STORES, path=PATHS)
def test_a_path_in_the_stores_parent_follows_the_store_and_another_does_not(store, other, path):
    before, now = StoredPaths(store), StoredPaths(other)
    found, normal = now.decode(before.encode(path)), os.path.normpath(path)
    if normal == before.folder or normal.startswith(before.folder + "/"):
        assert found == os.path.normpath(other + normal[len(before.folder) :])
    elif os.path.commonpath([before.parent, normal]) == before.parent:
        assert str(Path(found)) == str(Path(now.parent, os.path.relpath(normal, before.parent)))
    else:
        assert os.path.normpath(found) == normal


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("/p", "."),
        ("/p/in", "./in"),
        ("/p/.rekindle", "@"),
        ("/p/.rekindle/attempts/1", "@/attempts/1"),
        ("/p/.rekindle2/x", "./.rekindle2/x"),
        ("/p/../x", "/x"),
        ("/p/q/../in", "./in"),
        ("/pq/in", "/pq/in"),
        ("one.json, two.json", "one.json, two.json"),
        (None, None),
    ],
)
def test_stored_paths(path, stored):
    assert StoredPaths("/p/.rekindle").encode(path) == stored


def test_a_store_that_stays_converts_nothing():
    assert moved("/p/.rekindle", "/p/.rekindle") is None
    assert moved("/p/.rekindle", "/q/r/.rekindle")("/p/in") == "/q/r/in"


def test_an_older_store_is_upgraded_when_it_is_opened(tmp_path):
    folder = tmp_path / ".rekindle"
    folder.mkdir()
    connection = connect(folder / FILE)
    connection.execute(SQL["journal"].text)
    migrate(connection, migrations()[:1], StoredPaths(str(folder)))
    connection.execute("INSERT INTO meta VALUES ('identity', 'x')")
    for number, directory in enumerate((tmp_path, tmp_path / "sub", f"{tmp_path}2"), start=1):
        values = (number, f"w{number}", str(directory), f"{directory}/s.yaml")
        connection.execute(
            "INSERT INTO workflow (id, name, directory, source, revision, submitted) VALUES (?, ?, ?, ?, 1, 0)", values
        )
    connection.close()
    open_store(str(folder), create=False).close()
    moved_folder = tmp_path.rename(tmp_path.parent / "moved") / ".rekindle"
    store = open_store(str(moved_folder), create=False)
    with store.read() as archive:
        found = [(one.directory, one.source) for one in archive.workflows.listing()]
    store.close()
    here = moved_folder.parent
    folders = [str(here), f"{here}/sub", f"{tmp_path}2"]
    assert found == [(one, f"{one}/s.yaml") for one in folders]


def test_a_process_that_opens_an_older_store_twice_upgrades_it_once(tmp_path):
    connection = connect(tmp_path / FILE)
    connection.execute(SQL["journal"].text)
    migrate(connection, migrations()[:1], StoredPaths(str(tmp_path)))
    connection.execute("INSERT INTO meta VALUES ('identity', 'x')")
    stores = [open_store(str(tmp_path), create=False) for _ in range(2)]
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(migrations())
    for store in stores:
        store.close()
    connection.close()


def test_documents_of_an_older_store_are_encoded(tmp_path):
    paths = StoredPaths("/p/.rekindle")
    connection = connect(tmp_path / FILE)
    migrate(connection, migrations()[:4], paths)
    connection.execute("PRAGMA foreign_keys = OFF")
    prints = FileFingerprints(
        (FileContent("i", "/p/in", "1"), FileContent("j", "/q/in", "2")), (FileContent("o", "/p/out", "3"),)
    )
    documents = {
        "reasons": (Reason(ReasonKind.INPUT, {"name": "i", "path": "/p/in"}), Reason(ReasonKind.SELECTED, {})),
        "pointers": {"attempt": 1, "folder": "/p/.rekindle/attempts/1"},
        "manner": {"take": "same", "folder": "/p/.rekindle/attempts/1", "saves": ["/p/out"]},
        "saved": (SavedFile("/p/out", "/p/.rekindle/attempts/1.outputs/0/out", "3", 1, 1),),
        "checked": {"at": 1.0, "result": "runs", "reasons": [{"kind": "output", "name": "o", "path": "/p/out"}]},
    }
    texts = {name: msgspec.json.encode(one).decode() for name, one in documents.items()}
    row = {"rerun": 1, "job": 1, "version": 1, "before": 1, "after": 1, "unmet": 0, "start": "", "resume_step": 0}
    insert(connection, "rerun_job", {**row, "keeps": "[]", "archives": "[]", **texts})
    request = '{"source":"/p/s.yaml","name":"s"}'
    insert(connection, "rerun", {**dict.fromkeys(("at", "jobs"), 0), **dict.fromkeys(_TEXTS, ""), "request": request})
    insert(connection, "fingerprint", {"attempt": 1, "part": "files", "document": as_text(prints)})
    basis = as_text(Baseline(1, 1, "{}", prints=prints))
    insert(connection, "accepted", {"rerun": 1, "attempt": 1, "document": basis})
    seen = {"size": 1, "mtime_ns": 1, "inode": 1, "taken_ns": 1, "digest": ""}
    insert(connection, "file", {"path": "/p/in", **seen})
    encode_paths(connection, paths)
    encode_paths(connection, paths)
    stored = "".join(str(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in _TABLES)
    assert "/p/" not in stored
    for path in ("./in", "./out", "./s.yaml", "@/attempts/1", "@/attempts/1.outputs/0/out", "/q/in"):
        assert path in stored
    connection.close()


_TEXTS = ("kind", "digest", "refused", "warnings", "expected", "overwrites")
_TABLES = ("rerun_job", "rerun", "fingerprint", "accepted", "file")


def as_text(document):
    return msgspec.json.encode(document).decode()


def insert(connection, table, values):
    names = ", ".join(values)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(values)})", values)
