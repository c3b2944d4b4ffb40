"""Live parts of pages: what they cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from rekindle.engine.session import Session, open_session
from rekindle.web.live import ALL_SHARE, Live
from rekindle.web.readers import Readers

COST = 0.005
SECONDS = 5.0


@contextmanager
def changing(url: str) -> Iterator[None]:
    """Change a store all the time."""
    over = Event()

    def change() -> None:
        with open_session(url) as session:
            while not over.wait(0.05):
                with session.store.write() as archive:
                    archive.events.add(1.0, "seen", None, {})

    thread = Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_many_different_parts_together_take_a_bounded_share_of_a_processor(tmp_path: Path) -> None:
    url = str(tmp_path / "s")
    open_session(url, create=True).close()
    rendered: list[float] = []

    def render(_: Session) -> str:
        began = time.thread_time()
        while time.thread_time() - began < COST:
            pass
        rendered.append(time.monotonic())
        return str(len(rendered))

    async def allowed() -> bool:
        return True

    async def follow(live: Live, number: int) -> None:
        async for _ in live.stream({f"part{number}": render}, allowed):
            pass

    async def follow_all() -> None:
        readers, watcher = Readers(lambda: open_session(url)), Readers(lambda: open_session(url), threads=1)
        live = Live(readers, watcher)
        tasks = [asyncio.create_task(follow(live, number)) for number in range(20)]
        await asyncio.sleep(SECONDS)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        readers.close()
        watcher.close()

    with changing(url), ThreadPoolExecutor(1) as pool:  # this thread may have the browser's event loop
        pool.submit(lambda: asyncio.run(follow_all())).result()
    settled = [at for at in rendered if at > rendered[0] + SECONDS / 2]
    assert 0 < len(settled) * COST < 4 * ALL_SHARE * SECONDS / 2
