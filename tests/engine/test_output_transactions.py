"""Outputs saved or restored together with a transaction: if it fails, nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from rekindle.domain.errors import StoreUnavailable, UndoRefused
from rekindle.domain.rerun.plan import SavedFile
from rekindle.engine.rerun.output_copies import OutputCopies, restore_outputs


def saved(path: Path, kept: Path) -> SavedFile:
    found = kept.stat()
    return SavedFile(str(path), str(kept), blake3(kept.read_bytes()).hexdigest(), found.st_size, found.st_mtime_ns)


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[SavedFile, str | None]]:
    """Two saved files: one is in place, the other and its folder are gone."""
    (tmp_path / "kept").mkdir()
    found = []
    for name in ("there", "deep/gone"):
        kept = tmp_path / "kept" / Path(name).name
        kept.write_text(f"old {name}")
        found.append((saved(tmp_path / name, kept), str(tmp_path)))
    (tmp_path / "there").write_text("old there")
    return found


def fail_behind(put: Callable[[], object]) -> None:
    """Fail later in the same transaction."""
    put()
    raise StoreUnavailable("the disk is full")


def content(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if "kept" not in path.parts]
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else "" for path in paths}


def test_restored_files_stay_when_the_undo_is_committed(
    files: list[tuple[SavedFile, str | None]], tmp_path: Path
) -> None:
    with restore_outputs(files) as put:
        assert put() == (files[1][0].path,)
    assert content(tmp_path) == {"there": "old there", "deep": "", "deep/gone": "old deep/gone"}


def test_restored_files_are_removed_when_the_undo_fails(
    files: list[tuple[SavedFile, str | None]], tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable), restore_outputs(files) as put:
        fail_behind(put)
    assert content(tmp_path) == {"there": "old there"}


def test_drafts_are_removed_when_nothing_is_restored(files: list[tuple[SavedFile, str | None]], tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable), restore_outputs(files):
        raise StoreUnavailable("the disk is full")
    assert content(tmp_path) == {"there": "old there"}


def test_a_file_that_appears_meanwhile_is_never_replaced(
    files: list[tuple[SavedFile, str | None]], tmp_path: Path
) -> None:
    def put_late(put: Callable[[], object]) -> None:
        (tmp_path / "deep/gone").write_text("mine")
        put()

    with pytest.raises(UndoRefused, match="was written meanwhile"), restore_outputs(files) as put:
        put_late(put)
    assert content(tmp_path) == {"there": "old there", "deep": "", "deep/gone": "mine"}


def test_a_folder_that_a_link_replaces_meanwhile_is_not_followed(
    files: list[tuple[SavedFile, str | None]], tmp_path: Path
) -> None:
    def put_late(put: Callable[[], object]) -> None:
        (tmp_path / "deep").rename(tmp_path / "outside")
        (tmp_path / "deep").symlink_to("outside")
        put()

    with pytest.raises(UndoRefused, match="symbolic links"), restore_outputs(files) as put:
        put_late(put)
    assert "outside/gone" not in content(tmp_path)


def test_a_job_with_nothing_to_save_is_skipped(tmp_path: Path) -> None:
    full, empty = tmp_path / "1.outputs", tmp_path / "2.outputs"
    (tmp_path / "1.outputs.part").mkdir()
    found = OutputCopies(places=[str(full), str(empty)])
    found.commit()
    assert full.is_dir()
    assert not empty.exists()
