"""The screen of `rekindle top`."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static
from textual.worker import WorkerFailed

from rekindle.domain.errors import RekindleError
from rekindle.domain.selection import JobFilter
from rekindle.presentation import attempts, plans, words
from rekindle.query.selections import SelectionFlags
from rekindle.tui import job_text, overview, plan_text, reruns, store_reads, texts
from rekindle.tui.job_table import JobTable
from rekindle.tui.picked_jobs import PickedJobs
from rekindle.tui.plan_screen import PlanScreen
from rekindle.tui.screens import Question, TextScreen
from rekindle.tui.store_thread import StoreThread

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from rekindle.domain.models import FailureGroup
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.queries.job_table import JobWindow
    from rekindle.engine.results import AppliedRerun, WorkflowStatus
    from rekindle.engine.session import Session
    from rekindle.tui.store_reads import Near

TICK_SECONDS = 1.0
"""The time between two looks for changes of the store."""

READ_SECONDS = 5.0
"""The longest time between two reads of the store: a runner may die without changing it."""

_SHARE = 4
"""Reading takes at most a fifth of the time: after a read that took long, the next one waits."""

_MOST_GROUPS = 50

_LOW = 14
"""Lines of a screen below which the failures are left out."""

FILTER_KEYS = "⏎ filter  esc cancel     for instance: -s failed -n 'train*' -f 'exit_code=3'"

KEYS = "/ filter  space pick  a all  r rerun  u undo  l log  ⏎ job  ? help  q quit"


class TopApp(App[None]):
    """Jobs, failures by group and runners of a store, live."""

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "rekindle top"
    BINDINGS: ClassVar = [
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),
        Binding("slash", "filter", priority=True),  # keys that follow at once go to the filter
        Binding("r", "rerun"),
        Binding("u", "undo"),
        Binding("l", "log"),
        Binding("question_mark,f1", "help"),
        Binding("escape", "back"),
    ]

    def __init__(
        self,
        opened: Callable[[], Session],
        parse: Callable[[str], SelectionFlags],
        workflow: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`opened` opens a session in the thread of the store; `parse` reads the words of a filter."""
        super().__init__(ansi_color=True)
        self.store = StoreThread(opened)
        self._parse, self._workflow, self._clock = parse, workflow, clock
        self._typed = ""
        self._chosen: JobFilter | None = None  # None: not read yet
        self._statuses: Sequence[WorkflowStatus] = ()
        self._groups: Sequence[FailureGroup] = ()
        self._version: int | None = None
        self._next_read = self._latest_read = 0.0
        self._undoable: int | None = None  # the rerun that was applied here
        self.overview, self.heading = Static(id="overview", markup=False), Static(id="heading", markup=False)
        self.failures: DataTable[Text] = DataTable(id="failures", cursor_type="row")
        self.bar, self.keys = Static(id="bar", markup=False), Static(texts.line(KEYS), classes="keys", markup=False)
        self.filter = Input(id="filter", placeholder="empty: all jobs", select_on_focus=False)
        self.jobs = JobTable(self._read_jobs, clock)
        self.jobs.everything = PickedJobs.all_of(SelectionFlags(), workflow, clock)

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield from (self.overview, self.failures, self.heading, self.jobs, self.bar, self.filter)
        yield self.keys

    def on_mount(self) -> None:
        """Show the store, and look for changes from now on."""
        self.failures.add_columns("COUNT", "SIGNATURE", "CAUSE", "ERROR")
        self.jobs.focus()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._read_soon()
        self.set_interval(TICK_SECONDS, self._tick)

    def _fatal_error(self) -> None:
        """End after an unexpected error, which the command raises. Textual would print it with all local variables."""
        self._close_messages_no_wait()

    @property
    def error(self) -> BaseException | None:
        """The unexpected error that ended the screen."""
        return self._exception.error if isinstance(self._exception, WorkerFailed) else self._exception

    def on_unmount(self) -> None:
        """Close the store."""
        self.store.close()

    # reading

    def _tick(self) -> None:
        self.run_worker(self._look(), group="look", exclusive=False)

    async def _look(self) -> None:
        """Read the store if it has changed, or has not been read for a while, and logs each time."""
        if time.monotonic() < self._next_read:
            return
        self._next_read = time.monotonic() + TICK_SECONDS / 2
        try:
            version = await self.store.run(_data_version)
        except RekindleError as error:
            self._say(f"error: {error}", "bold red")
            return
        changed = version != self._version
        self._version = version
        if changed or time.monotonic() - self._latest_read > READ_SECONDS:
            await self._read_all()
        if isinstance(self.screen, TextScreen) and (changed or self.screen.follow):
            await self.screen.reload()
        self.jobs.refresh()

    def _read_soon(self) -> None:
        self.run_worker(self._read_all(), group="read")

    async def _read_all(self) -> None:
        """Read and show everything."""
        began = time.monotonic()
        try:
            self._statuses = await self.store.run(store_reads.statuses, self._workflow)
            listed = self.jobs.everything.selection
            if self._chosen is None or (self._chosen.ids is not None and not listed.changed):
                self._chosen = await self.store.run(store_reads.chosen_jobs, listed)
            await self.jobs.reload()
        except RekindleError as error:
            self._say(f"error: {error}", "bold red")
        self._show_overview()
        self._latest_read = time.monotonic()
        self._next_read = self._latest_read + _SHARE * (self._latest_read - began)

    async def _read_jobs(self, near: Near, picked: PickedJobs) -> tuple[JobWindow, int]:
        chosen = self._chosen if self._chosen is not None else JobFilter(ids=())
        return await self.store.run(store_reads.window, chosen, near, picked)

    # drawing

    def _show_overview(self) -> None:
        self.overview.update(overview.overview(self._statuses, self.size.width))
        groups = sorted((group for one in self._statuses for group in one.failures), key=lambda group: -group.count)
        self._show_failures(groups)

    def _show_failures(self, groups: Sequence[FailureGroup]) -> None:
        table = self.failures
        if groups != self._groups:
            at = table.cursor_row
            table.clear()
            for group in groups[:_MOST_GROUPS]:
                cells = (f"{group.count:,}", group.signature[:10], group.cause.value, attempts.group_error(group))
                table.add_row(*(texts.line(cell) for cell in cells))
            table.move_cursor(row=min(at, len(groups) - 1))
            self._groups = groups
        table.display = bool(groups) and self.size.height >= _LOW
        if not table.display and table.has_focus:
            self.jobs.focus()

    def on_job_table_changed(self) -> None:
        """Show which jobs are on the screen."""
        jobs = self.jobs
        first = jobs.before + jobs.top + 1
        last = min(first + jobs.height - 1, jobs.total)
        parts = [f"jobs {first:,}-{last:,} of {jobs.total:,}" if jobs.total else "no job matches the filter"]
        parts += [f"filter: {self._typed}"] if self._typed else []
        heading = texts.line("   ".join(parts), "bold")
        if jobs.picked:
            heading.append(f"   {jobs.picked_total:,} picked", "bold yellow")
        self.heading.update(heading)

    def _say(self, text: str, style: str = "") -> None:
        """Show a message above the keys; "" removes it."""
        bar = self.bar
        bar.update(Text(words.one_line(text), style=style))
        bar.display = bool(text)

    # filtering

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does what it is bound to: in the filter's line and on other screens, `/` does not."""
        if action == "filter":
            return not (self.filter.has_focus or isinstance(self.screen, ModalScreen))
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Ask for a filter."""
        box = self.filter
        box.value, box.display = self._typed, True
        box.cursor_position = len(self._typed)
        self.keys.update(texts.line(FILTER_KEYS))
        self.screen.set_focus(box)  # at once: the next key may have been typed already

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Show the jobs of the filter. A wrong one stays, with the error above it."""
        self.run_worker(self._filter(event.value.strip()), group="filter", exclusive=True)

    async def _filter(self, typed: str) -> None:
        self._say("reading …")
        try:
            found = PickedJobs.all_of(self._parse(typed), self._workflow, self._clock)
            chosen = await self.store.run(store_reads.chosen_jobs, found.selection)
            self._typed, self._chosen = typed, chosen
            await self.jobs.restart(found)
        except RekindleError as error:
            self._say(f"error: {error}", "bold red")
            return
        self._say("")
        self._close_filter()

    def _close_filter(self) -> None:
        self.filter.display = False
        self.keys.update(texts.line(KEYS))
        self.screen.set_focus(self.jobs)

    async def action_back(self) -> None:
        """Close the filter's line; else drop what is picked, then the filter."""
        if self.filter.display:
            self._say("")
            self._close_filter()
        elif self.jobs.picked:
            await self.jobs.pick(PickedJobs())
        elif self._typed:
            await self._filter("")

    # failures

    async def on_data_table_row_selected(self) -> None:
        """Show the jobs of the failure under the cursor."""
        if (group := self._group()) is not None:
            await self._filter(f"--signature {group.signature}")

    def _group(self) -> FailureGroup | None:
        row = self.failures.cursor_row
        return self._groups[row] if 0 <= row < len(self._groups) else None

    # reruns

    def action_rerun(self) -> None:
        """Plan a rerun of the picked jobs, of the job under the cursor, or of the jobs of a failure."""
        picked = self.jobs.picked
        group = self._group() if self.failures.has_focus else None
        if group is not None:
            picked = PickedJobs.all_of(SelectionFlags(signature=group.signature), self._workflow, self._clock)
        elif not picked and self.jobs.current is not None:
            picked = PickedJobs(frozenset({self.jobs.current.job.id}))
        if picked:
            self.push_screen(PlanScreen(self.store, picked), self._applied)
        else:
            self._say("there is no job to rerun")

    async def _applied(self, applied: AppliedRerun | None) -> None:
        if applied is None:
            return
        self._undoable = applied.rerun
        self._say(f"{plans.applied_text(applied)}   u undoes it", "reverse")
        self.jobs.picked = PickedJobs()
        self._read_soon()

    def action_undo(self) -> None:
        """Undo the rerun of the bar; without one, ask whether to undo the newest."""
        if self._undoable is not None:
            self.run_worker(self._undo(self._undoable))
        else:
            self.run_worker(self._ask_undo())

    async def _ask_undo(self) -> None:
        try:
            record = await self.store.run(reruns.newest)
        except RekindleError as error:
            self._say(f"error: {error}", "bold red")
            return
        if record is None:
            self._say("there is no rerun to undo")
        elif await self.push_screen_wait(Question(_undo_question(record))):
            await self._undo(record.id)

    async def _undo(self, number: int) -> None:
        try:
            undone = await self.store.run(reruns.undo, number)
        except RekindleError as error:
            self._say(f"error: {error}", "bold red")
            return
        self._undoable = None
        self._say(plan_text.undone_text(undone), "reverse")
        await self._read_all()

    # other screens

    def action_log(self) -> None:
        """Show the end of the logs of the job under the cursor."""
        if (row := self.jobs.current) is None:
            return

        async def read(width: int) -> tuple[str, Iterable[Text]]:
            attempt, tails = await self.store.run(store_reads.log_tails, row.job.id)
            title = f"{attempt.state.label}: attempt {attempt.number} of {row.job.id} {row.job.name}"
            return title, job_text.log_lines(attempt.job, tails, width)

        self.push_screen(TextScreen(read, follow=True))

    def on_job_table_opened(self) -> None:
        """Show the job under the cursor."""
        if (row := self.jobs.current) is None:
            return

        async def read(width: int) -> tuple[str, Iterable[Text]]:
            found = await self.store.run(store_reads.job, row.job.id)
            return f"job {row.job.id} {row.job.name}", job_text.job_lines(found, self._clock(), width)

        self.push_screen(TextScreen(read))

    def action_help(self) -> None:
        """Show the keys."""

        async def read(_: int) -> tuple[str, Iterable[Text]]:
            return "rekindle top: keys", [Text(job_text.HELP)]

        self.push_screen(TextScreen(read))


def _data_version(session: Session) -> int:
    return session.store.data_version()


def _undo_question(record: RerunRecord) -> str:
    note = f": {words.one_line(record.note)}" if record.note else ""
    jobs = words.plural(len(record.plan.jobs), "job")
    return f"Undo rerun {record.id} of {words.full_time(record.at)}{note}? It has {jobs}."
