"""Threads that read and write the store for the server: each has an open session of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from rekindle.engine.running.reconcile import reconciled

if TYPE_CHECKING:
    from rekindle.engine.session import Session

Value = TypeVar("Value")

_THREADS = 8


class Readers:
    """A pool of threads with one session each. The number of threads bounds the requests that are answered at once, and
    with it the memory of the server."""

    def __init__(self, opened: Callable[[], Session], threads: int = _THREADS) -> None:
        """`opened` opens a session in the calling thread."""
        self._opened = opened
        self._local = threading.local()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def run(self, work: Callable[[Session], Value]) -> Value:
        """Call `work` with the session of a thread, and return its value."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, work)

    async def write(self, by: str, work: Callable[[Session], Value]) -> Value:
        """Call `work`, which may change the store, after resolving the attempts of dead runners and again after it.
        `by` is recorded with what it writes."""
        return await self.run(lambda session: _write(session, by, work))

    def _call(self, work: Callable[[Session], Value]) -> Value:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._opened()
        return work(session)

    def close(self) -> None:
        """Wait for what runs. The sessions end with their threads."""
        self._executor.shutdown(cancel_futures=True)


def _write(session: Session, by: str, work: Callable[[Session], Value]) -> Value:
    with reconciled(session), session.store.written_by(by):
        return work(session)
