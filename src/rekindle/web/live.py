"""Live parts of pages: each is sent again when the store has changed and its text with it, as server-sent events.

All pages that show the same part share one task, which renders it once a change, at most four times a second, and
less often if it takes long: many open pages cost a runner no more than one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.web.readers import Readers

Render = Callable[["Session"], str]

LOOK_SECONDS = 0.25
"""Seconds between two looks for a change, and so between two events of a part."""

SHARE = 0.02
"""The largest share of a processor's time that is spent on rendering one part."""

ALL_SHARE = 0.06
"""The same for all parts together."""

MOST_BYTES = 4 << 20
"""The most bytes of events that are sent in a second. Sending a long part to many pages costs more than rendering."""

LONGEST_PAUSE = 10.0
"""The longest time in seconds between a change and its event, however long a part takes."""

AGE_SECONDS = 30.0
"""A part is rendered again after this time without a change, for the ages in it."""

COMMENT_SECONDS = 15.0
"""Without an event for this time a comment is sent, which shows whether the reader is still there."""

CHECK_SECONDS = 2.0
"""How often a stream checks that its reader may still read: its token or session may have ended."""

MOST_STREAMS = 500
"""The most pages that are served at once."""


class Live:
    """The live parts of one server."""

    def __init__(self, readers: Readers, watcher: Readers) -> None:
        """`watcher` has a single thread: a connection sees the changes of others only."""
        self._readers, self._watcher = readers, watcher
        self._parts: dict[str, _Part] = {}
        self._streams = 0

    def stream(self, parts: Mapping[str, Render], is_allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Return the events of parts, until the reader goes away or is not allowed to read any more. Parts with the
        same key are the same. Raise HTTPException if too many pages are open."""
        if self._streams >= MOST_STREAMS:
            raise HTTPException(503, "too many pages are open", {"Retry-After": "30"})
        return self._events(parts, is_allowed)

    async def _events(
        self, parts: Mapping[str, Render], is_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        self._streams += 1
        news = asyncio.Event()
        followed = [self._join(key, render, news) for key, render in parts.items()]
        seen = dict.fromkeys(parts, 0)
        sent = checked = time.monotonic()
        try:
            while not any(part.over for part in followed):
                news.clear()
                now = time.monotonic()
                if now - checked >= CHECK_SECONDS:
                    checked = now
                    if not await is_allowed():
                        return
                fresh = [part for part in followed if part.number != seen[part.key]]
                for part in fresh:
                    seen[part.key], sent = part.number, now
                    yield part.event
                if not fresh:
                    if now - sent >= COMMENT_SECONDS:
                        sent = now
                        yield b": \n\n"
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), CHECK_SECONDS)
        finally:
            self._streams -= 1
            for part in followed:
                part.news.discard(news)
                if not part.news:
                    part.task.cancel()
                    if self._parts.get(part.key) is part:
                        del self._parts[part.key]

    def _join(self, key: str, render: Render, news: asyncio.Event) -> _Part:
        part = self._parts.get(key)
        if part is None or part.over:
            part = self._parts[key] = _Part(key, self._readers, self._watcher, render, self._parts)
        part.news.add(news)
        return part


class _Part:
    """One part: its task, its newest event, and what wakes its readers."""

    def __init__(
        self, key: str, readers: Readers, watcher: Readers, render: Render, parts: Mapping[str, _Part]
    ) -> None:
        """`parts`: all that are followed now."""
        self.key = key
        self._readers, self._watcher, self._render, self._parts = readers, watcher, render, parts
        self.news: set[asyncio.Event] = set()
        self.number = 0
        self.event = b""
        self.over = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._render_changes()
        except Exception as error:  # noqa: BLE001 - its readers must not wait for it: they ask again, and see the error
            logging.getLogger(__name__).warning("a live part of a page failed: %s", error)
        self.over = True
        self._wake()

    async def _render_changes(self) -> None:
        version, text, rendered = -1, "", float("-inf")
        while True:
            newest = await self._watcher.run(lambda session: session.store.data_version())
            pause = LOOK_SECONDS
            if newest != version or time.monotonic() - rendered > AGE_SECONDS:
                version, rendered = newest, time.monotonic()
                fresh, cost = await self._readers.run(self._timed)
                if text:  # the first time includes imports
                    share = min(SHARE, ALL_SHARE / max(1, len(self._parts)))
                    sent = sum(len(one.event) * len(one.news) for one in self._parts.values())
                    pause = min(max(LOOK_SECONDS, cost / share, sent / MOST_BYTES), LONGEST_PAUSE)
                if fresh != text:
                    text = fresh
                    self.event, self.number = _event(text), self.number + 1
                    self._wake()
            await asyncio.sleep(pause)

    def _timed(self, session: Session) -> tuple[str, float]:
        """Return the text, and the processor time in seconds that it took."""
        began = time.thread_time()
        return self._render(session), time.thread_time() - began

    def _wake(self) -> None:
        for one in self.news:
            one.set()


def _event(text: str) -> bytes:
    """Return a text as one server-sent event."""
    return b"".join(b"data: " + line.encode() + b"\n" for line in text.splitlines()) + b"\n"
