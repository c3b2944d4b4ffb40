"""Fakes of time, crashes and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rekindle.store.archive import Snapshot, Store, Transaction
    from rekindle.store.database import Listener


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

    def write(self) -> AbstractContextManager[Transaction]:
        """Open a writing transaction."""
        return self._crashing(self._store.write())

    def turn(self, runner: int = 0) -> AbstractContextManager[Transaction]:
        """Open a writing transaction of a runner."""
        return self._crashing(self._store.turn(runner))

    @contextmanager
    def _crashing(self, block: AbstractContextManager[Transaction]) -> Iterator[Transaction]:
        self._raise_if_crashed()
        with block as archive:
            yield archive
            self._left -= 1
            if self._left == 0 and self._when == "before":
                self._crash()
        if self._left == 0:
            self._crash()

    def data_version(self) -> int:
        """Return the data version of the wrapped store."""
        self._raise_if_crashed()
        return self._store.data_version()

    def notify(self, runners: Iterable[int]) -> None:
        """Notify runners on other hosts."""
        self._store.notify(runners)

    def listen(self, runner: int) -> Listener | None:
        """Return what hears the notifications for a runner."""
        return self._store.listen(runner)

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
