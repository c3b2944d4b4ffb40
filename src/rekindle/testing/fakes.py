"""Fakes of time, crashes and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot, Store, Transaction


class FakeClock:
    """A clock that a test sets. Each call returns a time (seconds since the epoch) `tick` seconds after the last."""

    def __init__(self, now: float = 1_000_000_000.0, tick: float = 0.001) -> None:
        self.now = now
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back with a negative number."""
        self.now += seconds


class Crash(BaseException):
    """The simulated death of the process."""


class CrashingStore:
    """A store whose process dies at its `at`-th writing transaction (counted from 1).

    It raises Crash with that transaction committed (`when="after"`) or rolled back, and at every later call."""

    def __init__(self, store: Store, at: int, when: Literal["before", "after"]) -> None:
        self.identity, self.folder = store.identity, store.folder
        self.crashed = False
        self._store, self._left, self._when = store, at, when

    def read(self) -> AbstractContextManager[Snapshot]:
        """Open a snapshot."""
        self._raise_if_crashed()
        return self._store.read()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a writing transaction."""
        self._raise_if_crashed()
        with self._store.write() as archive:
            yield archive
            self._left -= 1
            if self._left == 0 and self._when == "before":
                self._crash()
        if self._left == 0:
            self._crash()

    turn = write

    def data_version(self) -> int:
        """Return the data version of the wrapped store."""
        self._raise_if_crashed()
        return self._store.data_version()

    def close(self) -> None:
        """Do nothing: the test closes the wrapped store."""

    def _crash(self) -> None:
        self.crashed = True
        raise Crash

    def _raise_if_crashed(self) -> None:
        if self.crashed:
            raise Crash


class InlineExecutor(Executor):
    """A ThreadPoolExecutor without threads: `submit` runs the call at once, so that histories are reproducible."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the call and return its finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future raises it
            future.set_exception(error)
        return future
