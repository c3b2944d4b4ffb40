"""The thread that reads and writes the store for the screen, so that keys are answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rekindle.engine.session import Session

Value = TypeVar("Value")


class StoreThread:
    """One thread with an open session. Calls run one after the other."""

    def __init__(self, opened: Callable[[], Session]) -> None:
        """`opened` opens a session in the calling thread."""
        self._opened = opened
        self._session: Session | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, work: Callable[..., Value], *args: Any, **kwargs: Any) -> Value:
        """Call `work` with the session and the arguments, and return its value."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, work, args, kwargs)

    def _call(self, work: Callable[..., Value], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        if self._session is None:
            self._session = self._opened()
        return work(self._session, *args, **kwargs)

    def close(self) -> None:
        """Wait for the call that runs, and close the session."""
        if self._session is not None:
            self._executor.submit(self._session.close)
        self._executor.shutdown(cancel_futures=False)
