"""What an iteration of a runner does once, whatever has ended in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_project import Project

from rekindle.store.database import Access
from rekindle.store.sqlite_driver import SqliteDriver


def chain(name: str, length: int) -> str:
    """The spec of jobs of which each needs the one before."""
    jobs = [f"  j{at}: {{run: 'true'{f', needs: [j{at - 1}]' if at else ''}}}" for at in range(length)]
    return "\n".join([f"name: {name}", "jobs:", *jobs])


def test_iterations_read_in_their_write_transaction_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A block that only reads changes a setting of the connection: SQLite then compiles every statement again.
    reads: list[int] = []
    begin = SqliteDriver.begin

    def counted(driver: SqliteDriver, access: Access) -> None:
        reads[-1] += access is Access.READ
        begin(driver, access)

    monkeypatch.setattr(SqliteDriver, "begin", counted)
    for length in (2, 30):
        folder = tmp_path / str(length)
        folder.mkdir()
        reads.append(0)
        project = Project(folder)
        try:
            report = project.run(chain(f"c{length}", length), slots=1)
        finally:
            project.session.close()
        assert report.completed == length
    assert reads[1] - reads[0] < 15, "of 28 more iterations"
