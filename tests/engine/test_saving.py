"""Outputs that are saved or put back together with a transaction: when that fails, nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.rerunning.rerun import SavedFile
from rekindle.engine.rerunning.saving import Saving, restoring


def saved(path: Path, kept: Path) -> SavedFile:
    found = kept.stat()
    return SavedFile(str(path), str(kept), blake3(kept.read_bytes()).hexdigest(), found.st_size, found.st_mtime_ns)


@pytest.fixture
def files(tmp_path: Path) -> list[SavedFile]:
    """Two saved files: one whose place holds something newer, one whose place is empty."""
    (tmp_path / "kept").mkdir()
    found = []
    for name in ("there", "gone"):
        kept = tmp_path / "kept" / name
        kept.write_text(f"old {name}")
        found.append(saved(tmp_path / name, kept))
    (tmp_path / "there").write_text("newer")
    return found


def fail_behind(put: Callable[[], object]) -> None:
    """What follows in the same transaction."""
    put()
    raise StoreUnavailable("the disk is full")


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_what_was_put_back_stays_when_the_undo_is_written(files: list[SavedFile], tmp_path: Path) -> None:
    with restoring(files) as put:
        assert set(put()) == {one.path for one in files}
    assert content(tmp_path) == {"there": "old there", "gone": "old gone"}


def test_what_was_put_back_is_taken_back_when_the_undo_cannot_be_written(
    files: list[SavedFile], tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable), restoring(files) as put:
        fail_behind(put)
    assert content(tmp_path) == {"there": "newer"}


def test_nothing_is_left_of_what_was_not_put_back(files: list[SavedFile], tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable), restoring(files):
        raise StoreUnavailable("the disk is full")
    assert content(tmp_path) == {"there": "newer"}


def test_a_place_for_which_there_was_nothing_to_save_is_passed_over(tmp_path: Path) -> None:
    full, empty = tmp_path / "1.outputs", tmp_path / "2.outputs"
    (tmp_path / "1.outputs.part").mkdir()
    found = Saving(places=[str(full), str(empty)])
    found.commit()
    assert full.is_dir()
    assert not empty.exists()
