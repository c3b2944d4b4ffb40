"""A store at whose nth transaction the process dies, just before or just after the commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from rekindle.store.port import Archive, Store


class Crash(BaseException):
    """The process is gone: nothing that comes after this may reach the store."""


class CrashingStore:
    """Another store, until a writing transaction has come to its end `at` times (counted from 1); then it raises
    Crash, with that transaction committed (`when="after"`) or not, and again for whatever is asked of it."""

    def __init__(self, store: Store, at: int, when: Literal["before", "after"]) -> None:
        self.identity, self.folder = store.identity, store.folder
        self.crashed = False
        self._store, self._left, self._when = store, at, when

    def read(self) -> AbstractContextManager[Archive]:
        """A consistent snapshot."""
        self._refuse()
        return self._store.read()

    @contextmanager
    def write(self) -> Iterator[Archive]:
        """One transaction, alone."""
        self._refuse()
        with self._store.write() as archive:
            yield archive
            self._left -= 1
            if self._left == 0 and self._when == "before":
                self._crash()
        if self._left == 0:
            self._crash()

    def data_version(self) -> int:
        """As the store has it."""
        self._refuse()
        return self._store.data_version()

    def close(self) -> None:
        """The store behind it stays open: it is the test's."""

    def _crash(self) -> None:
        self.crashed = True
        raise Crash

    def _refuse(self) -> None:
        if self.crashed:
            raise Crash
