"""Opening, creating and refusing stores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from store_driving import submit

from rekindle.domain.errors import BadValue, NotFound, StoreDamaged, StoreUnavailable, StoreVersion
from rekindle.store import opening
from rekindle.store.archive import Store
from rekindle.store.opening import HOST_FILE, claim_host, file_system, folder_of, open_store, refuse_network
from rekindle.store.sqlite_connection import FILE, connect
from rekindle.store.sqlite_driver import SqliteDriver


def make(folder: Path) -> str:
    store = open_store(str(folder), create=True)
    identity = store.identity
    store.close()
    return identity


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_store_keeps_its_identity_and_folder(tmp_path):
    identity = make(tmp_path / ".rekindle")
    store = open_store(str(tmp_path / ".rekindle"), create=False)
    assert (store.identity, store.folder) == (identity, str(tmp_path / ".rekindle"))
    store.close()


@pytest.mark.parametrize("form", ["{}", "sqlite://{}", "{}/store.db", "sqlite:///{}", "{}/../here"])
def test_every_form_of_a_url_names_the_same_folder(tmp_path, form):
    folder = tmp_path / "here"
    assert folder_of(form.format(folder)) == folder


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of("mine") == tmp_path / "mine"


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://relative", ""])
def test_a_url_that_is_no_store_is_refused(url):
    with pytest.raises(BadValue):
        open_store(url, create=True)


def test_a_store_that_is_not_there_is_not_made_unasked(tmp_path):
    with pytest.raises(NotFound, match="no store at"):
        open_store(str(tmp_path / "none"), create=False)
    assert not (tmp_path / "none").exists()


def test_git_does_not_see_what_is_in_a_store(tmp_path):
    make(tmp_path / ".rekindle")
    assert (tmp_path / ".rekindle" / ".gitignore").read_text() == "*\n"


def test_a_folder_with_other_things_in_it_does_not_become_a_store(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreDamaged, match=r"thesis\.tex") as refused:
        open_store(str(tmp_path), create=True)
    assert ".rekindle" in refused.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_what_a_killed_creation_left_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "store.db.part").write_text("half")
    (tmp_path / "store.db.part-journal").write_text("half")
    assert make(tmp_path)


def _be_killed(folder: str, statement: int) -> None:
    """Make a store, and kill this process when that many statements have run on the new database."""
    begun = count()

    def watched(*args: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*args, **more)
        connection.set_trace_callback(
            lambda _: os.kill(os.getpid(), signal.SIGKILL) if next(begun) == statement else None
        )
        return connection

    opening.connect = watched
    open_store(folder, create=True)


@pytest.mark.parametrize("statement", [0, 1, 2, 20, 70])
def test_a_store_is_made_after_a_creation_that_was_killed_at_a_statement(tmp_path, statement):
    process = multiprocessing.get_context("fork").Process(target=_be_killed, args=(str(tmp_path / "s"), statement))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "s" / FILE).exists()
    open_store(str(tmp_path / "s"), create=True).close()
    assert not list((tmp_path / "s").glob("*.part*"))


def test_a_full_disk_makes_no_store(tmp_path, monkeypatch):
    def limited(*args: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*args, **more)
        connection.execute("PRAGMA max_page_count = 9")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(opening, "connect", limited)
        with pytest.raises(StoreUnavailable, match="full"):
            open_store(str(tmp_path / "s"), create=True)
    assert list((tmp_path / "s").iterdir()) == []
    open_store(str(tmp_path / "s"), create=True).close()


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreDamaged, match="is a file"):
        open_store(str(tmp_path / "file"), create=True)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_another_file_in_its_place_is_damage(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreDamaged):
        open_store(str(tmp_path), create=True)


def test_another_programs_database_is_no_store(tmp_path):
    change(tmp_path, "CREATE TABLE mine (a)")
    with pytest.raises(StoreDamaged, match="not a rekindle store"):
        open_store(str(tmp_path), create=False)


def test_pages_overwritten_in_the_middle_are_damage(tmp_path):
    make(tmp_path)
    store = open_store(str(tmp_path), create=False)
    submit(store, {f"job{n}": [] for n in range(500)})
    store.close()
    size = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreDamaged, match="corrupt") as damaged, ExitStack() as ending:  # noqa: PT012
        broken = open_store(str(tmp_path), create=False)
        ending.callback(broken.close)
        with broken.read() as archive:
            archive.workflows.listing()
    assert damaged.value.hint


def test_a_newer_store_asks_for_a_newer_rekindle(tmp_path):
    make(tmp_path)
    change(tmp_path, "PRAGMA user_version = 99")
    with pytest.raises(StoreVersion, match="newer") as refused:
        open_store(str(tmp_path), create=True)
    assert refused.value.hint == "upgrade rekindle"


def test_an_older_store_says_what_to_do(tmp_path):
    make(tmp_path)
    change(tmp_path, "PRAGMA user_version = 0")
    with pytest.raises(StoreVersion, match="older") as refused:
        open_store(str(tmp_path), create=True)
    assert "--store" in refused.value.hint


def test_a_store_without_identity_is_damage(tmp_path):
    make(tmp_path)
    change(tmp_path, "DELETE FROM meta")
    with pytest.raises(StoreDamaged, match="identity"):
        open_store(str(tmp_path), create=False)


def test_a_store_of_another_host_is_refused_and_says_how_to_take_it(tmp_path):
    make(tmp_path)
    (tmp_path / HOST_FILE).write_text("elsewhere\n")
    with pytest.raises(StoreUnavailable, match="elsewhere") as refused:
        open_store(str(tmp_path), create=False)
    assert str(tmp_path / HOST_FILE) in refused.value.hint
    (tmp_path / HOST_FILE).unlink()
    open_store(str(tmp_path), create=False).close()


def test_a_host_that_owns_a_store_may_claim_it_again(tmp_path):
    claim_host(tmp_path, "here")
    claim_host(tmp_path, "here")
    with pytest.raises(StoreUnavailable):
        claim_host(tmp_path, "there")


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /net rw - nfs4 server:/net rw,vers=4.2
31 30 8:2 / /net/us/scratch rw - xfs /dev/sdb1 rw
32 21 0:50 / /mnt/two\\040words rw master:2 - cifs //server/share rw
33 21 0:51 / /over rw - nfs server:/a rw
34 21 8:3 / /over rw - btrfs /dev/sdc1 rw
a line that is nothing
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/x", "ext4"),
        ("/net/us/p/.rekindle", "nfs4"),
        ("/net/us/scratch/p", "xfs"),
        ("/net/us/scratchy", "nfs4"),
        ("/mnt/two words/p", "cifs"),
        ("/over/p", "btrfs"),
    ],
)
def test_the_deepest_and_latest_mount_tells_the_file_system(folder, kind):
    assert file_system(Path(folder), MOUNTS) == kind


def test_a_network_file_system_is_refused():
    with pytest.raises(StoreUnavailable, match="nfs4") as refused:
        refuse_network(Path("/net/someone/p"), MOUNTS)
    assert "$REKINDLE_STORE" in refused.value.hint
    refuse_network(Path("/srv/p"), MOUNTS)
    refuse_network(Path("/srv/p"), "")


def test_a_place_where_nothing_can_be_made_is_unavailable():
    with pytest.raises(StoreUnavailable, match="no store can be made"):
        open_store("/proc/rekindle-cannot-be-here", create=True)


@contextlib.contextmanager
def bound_by_permissions():
    """Run as another user: permissions do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_unavailable(tmp_path):
    tmp_path.chmod(0o500)
    with bound_by_permissions(), pytest.raises(StoreUnavailable):
        open_store(str(tmp_path / "new"), create=True)
    tmp_path.chmod(0o700)


def test_a_read_only_store_can_be_looked_at_and_says_that_it_cannot_be_written(tmp_path):
    make(tmp_path)
    driver = SqliteDriver(connect(tmp_path / FILE, unchanging=True), str(tmp_path))
    store = Store(driver, str(tmp_path), "identity")
    with store.read() as archive:
        assert archive.workflows.listing() == []
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        submit(store, {"a": []})
    store.close()


def test_a_full_disk_writes_nothing_and_says_so(tmp_path):
    make(tmp_path)
    store = open_store(str(tmp_path), create=False)
    pages = store._driver.connection.execute("PRAGMA page_count").fetchone()[0]
    store._driver.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreUnavailable, match="full"):
        submit(store, {f"job{n}": [] for n in range(2000)})
    with store.read() as archive:
        assert archive.workflows.listing() == []
        assert archive.check() == []
    store.close()


def test_a_store_locked_for_too_long_is_unavailable(tmp_path):
    make(tmp_path)
    first = open_store(str(tmp_path), create=False)
    second = open_store(str(tmp_path), create=False, timeout=0.05)
    with first.write(), pytest.raises(StoreUnavailable, match="locked"), second.write():
        pass
    with second.write() as archive:  # the lock is free again
        assert archive.workflows.listing() == []
    first.close()
    second.close()


def _make_and_tell(folder: str, told: multiprocessing.Queue[str]) -> None:
    store = open_store(folder, create=True)
    told.put(store.identity)
    store.close()


def test_processes_that_make_the_same_store_at_once_make_one(tmp_path):
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    makers = [context.Process(target=_make_and_tell, args=(str(tmp_path / "s"), told)) for _ in range(6)]
    for maker in makers:
        maker.start()
    identities = {told.get(timeout=30) for _ in makers}
    for maker in makers:
        maker.join(30)
    assert len(identities) == 1


def test_a_failed_transaction_leaves_nothing_and_the_store_goes_on(tmp_path):
    make(tmp_path)
    store = open_store(str(tmp_path), create=False)
    with pytest.raises(RuntimeError), store.write() as archive:  # noqa: PT012
        archive.events.add(1.0, "told", None, {})
        raise RuntimeError
    with store.read() as archive:
        assert archive.events.listing(None) == []
    store.close()


def test_a_failed_transaction_clears_the_row_cache(tmp_path):
    make(tmp_path)
    store = open_store(str(tmp_path), create=False)
    with pytest.raises(RuntimeError), store.write() as archive:  # noqa: PT012
        workflow = archive.workflows.add(_definition(cpus=4.0), 1.0)
        assert _resources(archive, workflow).cpus == 4.0
        raise RuntimeError
    with store.write() as archive:
        workflow = archive.workflows.add(_definition(cpus=2.0), 1.0)
        assert _resources(archive, workflow).cpus == 2.0
    store.close()


def _resources(archive, workflow):
    (job,) = archive.queue.ready(workflow, 9)
    return archive.jobs.resources([job.resource_class])[job.resource_class]


def _definition(cpus: float):
    from store_driving import definition, template

    from rekindle.domain.definition import Resources

    return definition({"a": []}, template={"a": template("a", "one", resources=Resources(cpus=cpus))})


def test_another_connections_commit_is_noticed(tmp_path):
    make(tmp_path)
    first, second = (open_store(str(tmp_path), create=False) for _ in range(2))
    before = first.data_version()
    assert first.data_version() == before
    submit(second, {"a": []})
    assert first.data_version() != before
    first.close()
    second.close()
