"""The screen of `rekindle top`, driven by keys, over a real store."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from rekindle.cli.commands.top import filter_flags
from rekindle.cli.main import main
from rekindle.engine.session import open_session
from rekindle.tui.app import TopApp

SECONDS = 60.0
"""The longest wait for what the screen shall show."""

NAMES = {" ": "space", "-": "minus", "'": "apostrophe", "*": "asterisk", "=": "equals_sign", ".": "full_stop"}


class Top:
    """What is on the screen, and the keys."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        """The lines of the screen."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        """The text of the screen."""
        return "\n".join(self.lines)

    async def shows(self, *texts: str, without: str | None = None) -> None:
        """Wait until the screen shows the texts, and no other."""
        end = time.monotonic() + SECONDS
        while not (all(text in self.text for text in texts) and (without is None or without not in self.text)):
            assert time.monotonic() < end, f"not {texts} without {without!r}:\n{self.text}"
            await self.pilot.pause(0.05)

    async def is_at(self, text: str) -> None:
        """Wait until the line with the cursor has a text."""
        end = time.monotonic() + SECONDS
        while not any(text in line for line in self.lines if line.startswith(">")):
            assert time.monotonic() < end, f"not at {text!r}:\n{self.text}"
            await self.pilot.pause(0.05)

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    async def filter(self, words: str) -> None:
        """Type a filter."""
        await self.press("slash", "ctrl+u", *(NAMES.get(key, key) for key in words), "enter")


def on_screen(
    store: Path, drive: Callable[[Top], Awaitable[None]], workflow: str | None = None, size: tuple[int, int] = (80, 24)
) -> None:
    """Open the screen of a store, and drive it."""

    async def run() -> None:
        app = TopApp(lambda: open_session(str(store), create=False), filter_flags, workflow)
        async with app.run_test(size=size) as pilot:
            top = Top(app, pilot)
            await top.shows("1 " if size[0] < 40 else "jobs")
            await drive(top)

    asyncio.run(run())


def run_workflow(folder: Path, spec: str) -> int:
    """Run a workflow."""
    (folder / "spec.yaml").write_text(textwrap.dedent(spec))
    return main(["run", "spec.yaml", "-j", "2"])
