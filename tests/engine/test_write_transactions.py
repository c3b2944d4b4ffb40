"""Nothing slow happens while a write transaction locks the store: no file is opened, moved or removed, no process is
started or signaled."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from rekindle.domain.rerun.request import How
from rekindle.engine.rerun import rerun
from rekindle.store.archive import Store, Transaction

WATCHED = ("open", "os.", "shutil.", "subprocess.", "signal.", "socket.")
"""The beginnings of the names of the interpreter's audit events. SQLite's own reads and writes raise none."""

_seen: list[str] = []
_thread = 0
"""The thread that is within a write transaction; 0: none is. Other threads may read files meanwhile."""


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _thread and event.startswith(WATCHED) and threading.get_ident() == _thread:
        _seen.append(f"{event} {args[:2]}")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the audit events that happen within write transactions."""
    _add_hook()
    _seen.clear()
    original = Store.write

    @contextmanager
    def write(self: Store) -> Iterator[Transaction]:
        global _thread
        with original(self) as archive:
            _thread = threading.get_ident()
            try:
                yield archive
            finally:
                _thread = 0

    monkeypatch.setattr(Store, "write", write)
    return _seen


@cache
def _add_hook() -> None:
    """Add the hook once: an audit hook cannot be removed."""
    sys.addaudithook(_hook)


SPEC = """
name: all
jobs:
  a: {run: "cp in.txt a.txt", inputs: {i: in.txt}, outputs: {o: a.txt}}
  b: {run: "test -e go && cp a.txt b.txt", inputs: {i: a.txt}, outputs: {o: b.txt}, retry: {max: 1}}
  c: {needs: [b], run: "true", when: finished}
"""


def test_a_write_transaction_opens_no_file_and_starts_no_process(project, seen: list[str]) -> None:
    (project.folder / "in.txt").write_text("1")
    assert project.run(SPEC).exit_code == 2
    (project.folder / "go").touch()
    project.rerun("a", how=How(downstream="changed"))
    rerun.undo(project.session)
    project.rerun("a", "b", how=How(downstream="changed"))
    assert project.work().exit_code == 0
    project.submit(SPEC.replace("true", "echo"))
    assert seen == []
