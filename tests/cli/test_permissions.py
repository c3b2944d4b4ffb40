"""Permissions of a store for every umask: private to its user, or shared with a group."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle.engine.notify import Notifier, notify_here
from rekindle.store.schema import migrate, migrations
from rekindle.store.sqlite_connection import connect
from rekindle.store.stored_paths import StoredPaths

SPEC = """
name: modes
jobs:
  command: {run: "echo hi; echo hi >&2; touch by_job $REKINDLE_DIR/by_job", outputs: {made: by_job}}
  own: {workdir: attempt, run: "umask > by_job"}
  items: {steps: [{name: each, each: [1, 2], run: "echo ${item}; touch $REKINDLE_DIR/by_job"}]}
  call: {call: "called:call"}
  calls: {steps: [{name: each, each: [1, 2], call: "called:call"}]}
"""
CALLED = "def call(ctx):\n    print('hi')\n    (ctx.dir / 'by_job').touch()\n"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def project(shell: Shell) -> Shell:
    shell.write(SPEC)
    shell.write(CALLED, "called.py")
    return shell


def modes(store: Path) -> dict[str, set[int]]:
    """The modes of the store's folders, of its files, and of the files that jobs wrote in it."""
    found: dict[str, set[int]] = {"folders": set(), "files": set(), "by jobs": set()}
    for path in (store, *store.rglob("*")):
        is_job_file = path.name == "by_job" and ".outputs/" not in str(path)  # a saved output is the store's
        kind = "folders" if path.is_dir() else "by jobs" if is_job_file else "files"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.mark.parametrize(("mask", "by_jobs"), [(0o000, 0o666), (0o022, 0o644), (0o077, 0o600)])
def test_a_store_is_private_whatever_the_umask_and_jobs_keep_theirs(project: Shell, mask: int, by_jobs: int) -> None:
    with umask(mask):
        assert project("run", "spec.yaml").code == 0
        assert project("rerun", "command", "--keep-outputs", "--workdir", "new", "--yes", "--work").code == 0
    assert modes(project.folder / ".rekindle") == {"folders": {0o700}, "files": {0o600}, "by jobs": {by_jobs}}
    assert stat.S_IMODE((project.folder / "by_job").stat().st_mode) == by_jobs


def test_files_beside_the_open_database_are_private(project: Shell) -> None:
    with umask(0):
        project("submit", "spec.yaml")
    store = project.folder / ".rekindle"
    with closing(sqlite3.connect(store / "store.db")) as reader:
        reader.execute("SELECT count(*) FROM job").fetchone()
        assert {path.name for path in store.iterdir()} >= {"store.db-wal", "store.db-shm"}
        assert modes(store)["files"] == {0o600}


@pytest.mark.parametrize("asked", ["REKINDLE_SHARED=group", "init --shared", "init --shared, later"])
def test_a_shared_store_stays_its_groups(project: Shell, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    with umask(0o077):
        if asked == "REKINDLE_SHARED=group":
            monkeypatch.setenv("REKINDLE_SHARED", "group")
            project("submit", "spec.yaml")
            monkeypatch.delenv("REKINDLE_SHARED")
        elif asked == "init --shared":
            assert "made a store: " in project("init", "--shared").out
        else:
            assert "private to its user" in project("init").out
            project("run", "spec.yaml")
            assert "shared with the group" in project("init", "--shared").out
        assert project("run", "spec.yaml", "--new").code == 0
    assert modes(project.folder / ".rekindle") == {"folders": {0o2770}, "files": {0o660}, "by jobs": {0o600}}


PARTIAL = """
name: partial
jobs:
  s:
    partial: aside
    outputs: {o: o, t: t}
    steps:
      - {name: one, run: "echo one > o; mkdir -p t/d; echo x > t/d/x; chmod 755 t/d/x"}
      - {name: two, run: "echo two >> o; test -e ok"}
"""


def outputs_of(shell: Shell) -> dict[str, int]:
    return {name: stat.S_IMODE((shell.folder / name).stat().st_mode) for name in ("o", "t", "t/d", "t/d/x")}


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_outputs_in_a_store_have_its_modes_and_get_their_own_back(shell: Shell, mask: int, shared: bool) -> None:
    shell.write(PARTIAL)
    store = shell.folder / ".rekindle"
    right = {"folders": {0o2770 if shared else 0o700}, "files": {0o660 if shared else 0o600}, "by jobs": set()}
    own = {"o": 0o666 & ~mask, "t": 0o777 & ~mask, "t/d": 0o777 & ~mask, "t/d/x": 0o755}
    with umask(mask):
        assert shell("init", *(["--shared"] if shared else [])).code == 0
        assert shell("run", "spec.yaml").code == 2
        assert (store / "attempts/0000/00/1.partial/1/t/d/x").exists()
        assert modes(store) == right
        (shell.folder / "ok").touch()
        assert shell("rerun", "s", "--from", "two", "--yes", "--work").code == 0
        assert outputs_of(shell) == own
        assert shell("rerun", "s", "--keep-outputs", "--yes").code == 0
        assert (store / "attempts/0000/00/2.outputs/1/t/d/x").exists()
        assert modes(store) == right
        (shell.folder / "o").unlink()
        (shell.folder / "t/d/x").unlink()
        assert shell("undo").code == 0
    assert outputs_of(shell) == own


def test_a_store_that_becomes_shared_shares_the_outputs_in_it(shell: Shell) -> None:
    shell.write(PARTIAL)
    with umask(0o077):
        shell("run", "spec.yaml")
        shell.write("{name: m, jobs: {m: {run: 'mkdir -p m/d; echo > m/d/x', outputs: {m: m}}}}", "m.yaml")
        assert shell("run", "m.yaml").code == 0
        assert shell("rerun", "m", "--keep-outputs", "--yes").code == 0
        assert "shared with the group" in shell("init", "--shared").out
        assert modes(shell.folder / ".rekindle") == {"folders": {0o2770}, "files": {0o660}, "by jobs": set()}
        (shell.folder / "ok").touch()
        assert shell("rerun", "s", "--from", "two", "--yes", "--work").code == 0
    assert outputs_of(shell) == {"o": 0o600, "t": 0o700, "t/d": 0o700, "t/d/x": 0o755}


def test_a_partial_output_that_cannot_be_reached_fails_the_start_of_a_resume(shell: Shell) -> None:
    shell.write(PARTIAL)
    shell("run", "spec.yaml")
    place = shell.folder / ".rekindle/attempts/0000/00/1.partial"
    place.rename(shell.folder / "elsewhere")
    place.symlink_to(place)  # refuses root, too
    (shell.folder / "ok").touch()
    assert shell("rerun", "s", "--from", "two", "--yes", "--work").code == 2
    [attempt] = shell("attempts", "list", "--live", "--json").json["attempts"]
    assert attempt["cause"] == "start"
    assert f"({place}/0/o)" in attempt["error"]["message"]
    checked = shell("store", "check", "--deep")
    assert checked.code == 1
    assert f"{place}/0/o" in checked.out


def test_a_setting_that_is_none_is_named(project: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_SHARED", "world")
    done = project("submit", "spec.yaml")
    assert done.code == 64
    assert "REKINDLE_SHARED is 'world'" in done.err
    assert not (project.folder / ".rekindle").exists()


def test_a_store_of_an_older_version_becomes_private_once_and_says_so(project: Shell) -> None:
    project("run", "spec.yaml")
    store = project.folder / ".rekindle"
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (store / "store.db").unlink()
    with closing(connect(store / "store.db")) as older:
        migrate(older, migrations()[:2], StoredPaths(str(store)))
        older.execute("INSERT INTO meta VALUES ('identity', 'x')")
    (store / "store.db").chmod(0o644)
    first = project("status")
    assert f"the store {store} was open to other users and is now private" in first.err
    assert modes(store) == {"folders": {0o700}, "files": {0o600}, "by jobs": {0o644}}
    store.chmod(0o755)
    assert project("status").err == ""
    assert stat.S_IMODE(store.stat().st_mode) == 0o755  # its user has opened it


@pytest.mark.parametrize("number", ["EACCES", "EPERM", "EMFILE", "EIO"])
def test_a_runner_that_cannot_be_woken_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    bells = [Notifier(str(tmp_path), 1), Notifier(str(tmp_path), 2, "supervisor")]

    def refuse(*_: object) -> int:
        raise OSError(getattr(errno, number), "refused")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        notify_here(str(tmp_path), [1, 3])
    notify_here(str(tmp_path), [1, 3])
    for bell in bells:
        bell.drain()
        bell.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose any group")
def test_a_store_can_be_shared_with_a_group_that_has_no_name(shell: Shell) -> None:
    os.chown(shell.folder, -1, 50_123)
    shell.folder.chmod(0o2770)
    assert "shared with the group 50123" in shell("init", "--shared").out
