"""The table of jobs. It holds the jobs near those on the screen, and reads others when the cursor comes near them."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from rekindle.domain.states import ACTIVE
from rekindle.presentation import attempts, words
from rekindle.presentation.jobs import job_notes
from rekindle.tui import texts
from rekindle.tui.picked_jobs import PickedJobs
from rekindle.tui.store_reads import Near

if TYPE_CHECKING:
    from rich.text import Text
    from textual import events

    from rekindle.engine.queries.job_table import JobWindow
    from rekindle.engine.results import JobRow

MARGIN = 100
"""Jobs that are read above and below those on the screen."""

_TITLES = ("ID", "NAME", "STATE", "NOTE", "TRIES", "TIME", "ENDED")
_STATE, _NOTE, _TRIES, _TIME, _ENDED = 9, 14, 5, 9, 8
_WIDE = 96
"""Columns of a screen on which the time of the end is shown, and more of the note."""

Read = Callable[[Near, PickedJobs], Awaitable[tuple["JobWindow", int]]]
"""Reads the jobs near one, and the number of picked jobs."""


class JobTable(Widget, can_focus=True):
    """Jobs by id, with a cursor and picked jobs."""

    BINDINGS = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home", "first"),
        Binding("end", "last"),
        Binding("space", "pick_one"),
        Binding("shift+up", "extend(-1)"),
        Binding("shift+down", "extend(1)"),
        Binding("a", "pick_all"),
        Binding("enter", "open"),
    ]

    class Changed(Message):
        """Other jobs are shown or picked."""

    class Opened(Message):
        """The details of the job under the cursor are wanted."""

    def __init__(self, read: Read, clock: Callable[[], float]) -> None:
        super().__init__(id="jobs")
        self._read, self._clock = read, clock
        self._reading = asyncio.Lock()  # keys and changes of the store may come meanwhile
        self.top = 0  # index of the first job on the screen, in `rows`
        self._cursor = 0
        self.rows: Sequence[JobRow] = ()
        self.before, self.total = 0, 0
        self.picked, self.picked_total = PickedJobs(), 0
        self.everything = PickedJobs()  # all jobs of the list

    @property
    def current(self) -> JobRow | None:
        """The job under the cursor."""
        return self.rows[self._cursor] if self.rows else None

    @property
    def height(self) -> int:
        """The number of jobs on the screen."""
        return max(1, self.size.height - 1)

    async def pick(self, picked: PickedJobs) -> None:
        """Set the picked jobs."""
        self.picked = picked
        await self.reload()

    async def reload(self) -> None:
        """Read the jobs again. The same jobs stay on the screen and under the cursor, if they are still in the list."""
        async with self._reading:
            await self._load_near(0)
            self._show()

    async def restart(self, everything: PickedJobs) -> None:
        """Read another list from its beginning. `everything`: all of its jobs."""
        async with self._reading:
            self.picked, self.everything = PickedJobs(), everything
            self.rows, self.top, self._cursor = (), 0, 0
            await self._load_near(0)
            self._show()

    async def _load_near(self, by: int) -> None:
        """Read the jobs on the screen, and those that a move of the cursor needs."""
        top, current = (self.rows[at].job.id if self.rows else 0 for at in (self.top, self._cursor))
        await self._load(Near(top, abs(by) + MARGIN, abs(by) + self.height + MARGIN))
        self.top, self._cursor = self._index(top), self._index(current)

    async def _load(self, near: Near) -> None:
        found, self.picked_total = await self._read(near, self.picked)
        self.rows, self.before, self.total = found.rows, found.before, found.total

    def _index(self, job: int) -> int:
        """Return the position of a job, or of the one that follows it in the list."""
        return max(0, min(bisect_left(self.rows, job, key=lambda row: row.job.id), len(self.rows) - 1))

    def _show(self) -> None:
        """Scroll so that the cursor is on the screen and no line is left empty, and draw."""
        self.top = min(
            max(self.top, self._cursor - self.height + 1), self._cursor, max(0, len(self.rows) - self.height)
        )
        self.refresh()
        self.post_message(self.Changed())

    async def action_move(self, by: int) -> None:
        """Move the cursor."""
        async with self._reading:
            await self._move(by)
            self._show()

    async def action_page(self, by: int) -> None:
        """Move by the number of jobs on the screen."""
        async with self._reading:
            await self._move(by * self.height)
            self.top += by * self.height
            self._show()

    async def _move(self, by: int) -> None:
        target = self._cursor + by
        below = self.total - self.before - len(self.rows)
        if (target < self.height and self.before) or (target + self.height > len(self.rows) and below):
            await self._load_near(by)
            target = self._cursor + by
        self._cursor = max(0, min(target, len(self.rows) - 1))

    async def action_first(self) -> None:
        """Go to the first job."""
        async with self._reading:
            await self._load(Near(0, 0, self.height + MARGIN))
            self.top = self._cursor = 0
            self._show()

    async def action_last(self) -> None:
        """Go to the last job."""
        async with self._reading:
            await self._load(Near(None, self.height + MARGIN, 0))
            self._cursor = max(0, len(self.rows) - 1)
            self._show()

    async def action_pick_one(self) -> None:
        if self.current is not None:
            await self.pick(self.picked.toggled(self.current.job.id))
            await self.action_move(1)

    async def action_extend(self, by: int) -> None:
        before = self.current
        await self.action_move(by)
        if before is not None and self.current is not None:
            await self.pick(self.picked.added(before.job.id, self.current.job.id))

    async def action_pick_all(self) -> None:
        await self.pick(PickedJobs() if self.picked == self.everything else self.everything)

    def action_open(self) -> None:
        if self.current is not None:
            self.post_message(self.Opened())

    async def on_click(self, event: events.Click) -> None:
        """Move the cursor to the job; with control, also pick it; with shift, pick those between."""
        at = self.top + event.y - 1
        if event.y < 1 or at >= len(self.rows):
            return
        between = range(min(at, self._cursor), max(at, self._cursor) + 1)
        self._cursor = at
        if event.shift:
            await self.pick(self.picked.added(*(self.rows[one].job.id for one in between)))
        elif event.ctrl:
            await self.pick(self.picked.toggled(self.rows[at].job.id))
        self._show()

    async def on_mouse_scroll_down(self) -> None:
        """Go to later jobs."""
        await self.action_move(3)

    async def on_mouse_scroll_up(self) -> None:
        """Go to earlier jobs."""
        await self.action_move(-3)

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._show()

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen: the titles, a job, or nothing."""
        width, at = self.size.width, self.top + y - 1
        widths = self._widths(width)
        if y == 0:
            line = _line(_TITLES, widths, "  ")
            line.stylize("bold")
        elif at < len(self.rows):
            row = self.rows[at]
            here, picked = at == self._cursor, row.job.id in self.picked
            line = _line(self._cells(row), widths, (">" if here else " ") + ("*" if picked else " "))
            if here:
                line.stylize("reverse" if self.has_focus else "underline")
            elif picked:
                line.stylize("bold")
        else:
            return Strip.blank(width, self.rich_style)
        console = self.app.console
        segments = [one for one in line.render(console) if one.text]
        return Strip(Segment.apply_style(segments, self.rich_style)).adjust_cell_length(width, self.rich_style)

    def _widths(self, width: int) -> dict[int, int]:
        """Return the widths of the columns on a screen. The name takes what the others leave."""
        wide = width >= _WIDE
        number = max(4, len(str(self.rows[-1].job.id)) if self.rows else 0)
        widths = {0: number, 1: 0, 2: _STATE, 3: _NOTE * (2 if wide else 1), 4: _TRIES, 5: _TIME}
        if wide:
            widths[6] = _ENDED
        widths[1] = max(8, width - 2 - sum(widths.values()) - len(widths) + 1)
        return widths

    def _cells(self, row: JobRow) -> tuple[str, ...]:
        job, live = row.job, row.attempt
        seconds = None
        if live is not None and live.started is not None:
            now = self._clock() if live.state in ACTIVE else live.ended
            seconds = None if now is None else max(0.0, now - live.started)
        return (
            str(job.id),
            job.name,
            job.state.label,
            note(row),
            str(job.attempts),
            words.duration(seconds),
            words.short_time(live.ended) if live else "",
        )


def note(row: JobRow) -> str:
    """Return the cause of a job's failure, and what else its state does not say."""
    cause = [attempts.cause(row.attempt)] if row.attempt is not None and row.attempt.cause is not None else []
    return ", ".join([*cause, *(["stale"] if row.overtaken else []), *job_notes(row)])


def _line(cells: Sequence[str], widths: dict[int, int], marks: str) -> Text:
    found = texts.line(marks)
    for number, (at, width) in enumerate(widths.items()):
        found.append(" " if number else "")
        right = _TITLES[at] in ("ID", "TRIES", "TIME")
        found.append_text(texts.cell(words.one_line(cells[at]), width, right=right, middle=_TITLES[at] == "NAME"))
    return found
