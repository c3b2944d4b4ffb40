"""Stores whose spool is apart from their rows: in SQLite, and on network file systems."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_driving import DIAMOND, ids, submit

from rekindle.domain.errors import BadValue, StoreUnavailable
from rekindle.files.store_files import is_shared
from rekindle.store import opening
from rekindle.store.inspection import inspect
from rekindle.store.opening import open_store, rows_folder
from stores import new_store_url


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return tmp_path / "local" / ".rekindle"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "shared" / ".rekindle"


def make(rows: Path, spool: Path) -> tuple[str, int]:
    """Make a store with a workflow. Return its identity and the workflow."""
    with closing(open_store(f"sqlite://{rows}?spool={spool}", create=True)) as store:
        return store.identity, submit(store, DIAMOND)


def test_the_store_remembers_its_spool_and_is_found_by_either_folder(rows, spool):
    identity, workflow = make(rows, spool)
    assert (rows / "store.db").exists()
    assert not (spool / "store.db").exists()
    for url in (str(rows), f"sqlite://{rows}", str(spool), f"sqlite://{spool}"):
        with closing(open_store(url, create=False)) as store:
            assert (store.identity, store.folder, store.name) == (identity, str(spool), str(rows))
            assert list(ids(store, workflow)) == ["top", "left", "right", "bottom"]
        assert rows_folder(url) == rows
    assert (inspect(rows, deep=True, progress=print).problems) == ()


def test_a_spool_that_was_moved_is_used_where_it_is(rows, spool, tmp_path):
    make(rows, spool)
    spool.rename(tmp_path / "moved")
    with pytest.raises(StoreUnavailable, match=r"spool of the store .* is not there"):
        open_store(str(rows), create=False)
    for url in (str(tmp_path / "moved"), str(rows)):
        with closing(open_store(url, create=False)) as store:
            assert store.folder == str(tmp_path / "moved")


def test_a_copy_of_a_spool_is_refused(rows, spool, tmp_path):
    make(rows, spool)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "database").write_text((spool / "database").read_text())
    with pytest.raises(StoreUnavailable, match=r"copy of .*rekindle, the spool"):
        open_store(str(tmp_path / "copy"), create=False)


def test_a_folder_with_files_does_not_become_a_spool(rows, spool):
    spool.mkdir(parents=True)
    (spool / "mine").touch()
    with pytest.raises(BadValue, match="it holds mine"):
        make(rows, spool)
    assert not (rows / "store.db").exists()


def test_both_folders_are_private_or_shared(rows, spool, tmp_path):
    make(rows, spool)
    assert [path.stat().st_mode & 0o77 for path in (rows, spool)] == [0, 0]
    more = [tmp_path / "more" / ".rekindle", tmp_path / "more-shared" / ".rekindle"]
    open_store(f"sqlite://{more[0]}?spool={more[1]}", create=True, shared=True).close()
    assert all(map(is_shared, more))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system that counts as one that several hosts share."""
    folder = tmp_path / "network"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    mounts = Path("/proc/self/mountinfo").read_text()
    monkeypatch.setattr(opening, "NETWORKED", {"tmpfs"})
    if (kind := opening.file_system(tmp_path, mounts)) == "tmpfs":
        pytest.skip(f"the folder of the tests is on a {kind} too")
    yield folder
    monkeypatch.undo()
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_rows_on_a_network_file_system_are_refused_and_a_spool_is_not(network, rows):
    with pytest.raises(StoreUnavailable, match="network file system"):
        open_store(str(network / ".rekindle"), create=True)
    make(rows, network / "spool")
    open_store(str(network / "spool"), create=False).close()


def test_the_spool_of_a_store_in_postgres_may_be_on_a_network_file_system(network, postgres_server, tmp_path):
    url = new_store_url(postgres_server, network / "spool")
    open_store(url, create=True).close()
    (network / "spool" / "host").write_text("another host\n")
    open_store(str(network / "spool"), create=False).close()
    assert not (network / "spool" / "store.db").exists()


def test_a_store_is_of_one_host_by_its_rows_alone(rows, spool):
    make(rows, spool)
    assert not (spool / "host").exists()
    (spool / "host").write_text("another host\n")
    open_store(str(spool), create=False).close()
    (rows / "host").write_text("another host\n")
    with pytest.raises(StoreUnavailable, match="another host"):
        open_store(str(spool), create=False)
