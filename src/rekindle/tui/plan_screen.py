"""The plan of a rerun, its options, and its application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace
from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rekindle.domain.errors import RekindleError
from rekindle.domain.rerun.request import FROM_BEGINNING, FROM_FAILED_STEP, KEEP_MOST
from rekindle.engine.results import AppliedRerun
from rekindle.presentation import words
from rekindle.tui import reruns, texts
from rekindle.tui.plan_text import moved_text, plan_lines, refused_lines

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from rekindle.tui.picked_jobs import PickedJobs
    from rekindle.tui.reruns import Proposal
    from rekindle.tui.store_thread import StoreThread

LOOK_SECONDS = 1.0
"""The time for which a plan that replaces an outdated one is not applied: the key may be meant for the other."""

_STARTS = (KEEP_MOST, FROM_FAILED_STEP, FROM_BEGINNING)
_DOWNSTREAM = ("changed", "all", "none")


class PlanScreen(ModalScreen[AppliedRerun | None]):
    """Shows the plan of rerunning picked jobs, again for each change of an option. Applies the plan that is shown, and
    no other."""

    BINDINGS = [
        Binding("y", "apply"),
        Binding("s", "change('start')"),
        Binding("d", "change('downstream')"),
        Binding("o", "change('keep_outputs')"),
        Binding("escape,n,q", "cancel"),
        Binding("up,k", "scroll(-1)"),
        Binding("down,j", "scroll(1)"),
    ]

    def __init__(self, store: StoreThread, picked: PickedJobs) -> None:
        super().__init__()
        self._store, self._picked = store, picked
        self._options = reruns.RerunOptions()
        self.proposal: Proposal | None = None  # that is shown; None while a plan is made or applied
        self._applicable_from = 0.0
        self._applying = False
        self._title = Static(texts.line("rerun", "bold"), classes="title", markup=False)
        self._options_line, self._notice = Static(id="options", markup=False), Static(id="notice", markup=False)
        self._plan_text, self._keys = Static(markup=False), Static(classes="keys", markup=False)
        self._scroll = VerticalScroll(self._plan_text, id="scroll")

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield from (self._title, self._options_line, self._notice, self._scroll, self._keys)

    def on_mount(self) -> None:
        """Make the plan that keeps most."""
        self._scroll.focus()
        self._plan()

    def _plan(self, notice: str = "", before: Proposal | None = None) -> None:
        """Make a plan in the background. `before`: the plan that it replaces, because jobs have changed."""
        self.proposal = None
        self._plan_text.update(texts.line("planning …"))
        self._show_options("")
        self.run_worker(self._make(notice, before), exclusive=True)

    async def _make(self, notice: str, before: Proposal | None) -> None:
        try:
            found = await self._store.run(reruns.plan, self._picked, self._options)
        except RekindleError as error:
            self._show([texts.line(f"error: {error}", "bold red")], notice)
            return
        if before is not None and before.planned is not None and found.planned is not None:
            self._applicable_from = time.monotonic() + LOOK_SECONDS
            notice += f"\n{words.one_line(moved_text(before.planned.plan, found.planned.plan))}"
        self.proposal = found
        number = len(found.refused if found.planned is None else found.planned.selected)
        self._title.update(texts.line(f"rerun {words.plural(number, 'job')}", "bold"))
        self._show(self._lines(found), notice)
        self._show_options("" if found.planned is not None else "nothing can be applied")

    def _lines(self, found: Proposal) -> list[Text]:
        width = self.size.width - 3
        notes = [Text(words.one_line(f"note: {note}"), style="yellow") for note in found.notes]
        if found.planned is not None:
            return [*notes, *plan_lines(found.planned, width)]
        return [*refused_lines(found.refused)] if found.refused else [texts.line("no job is selected any more")]

    def _show(self, lines: list[Text], notice: str) -> None:
        self._plan_text.update(Text("\n").join(lines))
        self._notice.update(Text(notice, style="black on yellow"))
        self._notice.display = bool(notice)

    def _show_options(self, state: str) -> None:
        one = self._options
        line = Text.assemble(
            *_choice("start", "s", _STARTS, one.start),
            "\n",
            *_choice("downstream", "d", _DOWNSTREAM, one.downstream),
            *_choice(
                "outputs", "o", ("saved first", "overwritten"), "saved first" if one.keep_outputs else "overwritten"
            ),
        )
        self._options_line.update(line)
        apply = "y apply this plan" if self.proposal is not None and self.proposal.planned is not None else state
        self._keys.update(texts.line(f"{apply}  s d o options  esc cancel  ↑ ↓ scroll".lstrip()))

    def action_change(self, option: str) -> None:
        """Change an option to its next value, and plan again."""
        one = self._options
        if option == "start":
            one = replace(one, start=_after(_STARTS, one.start))
        elif option == "downstream":
            one = replace(one, downstream=_after(_DOWNSTREAM, one.downstream))
        else:
            one = replace(one, keep_outputs=not one.keep_outputs)
        self._options = one
        self._plan()

    def action_apply(self) -> None:
        """Apply the plan that is shown."""
        shown = self.proposal
        if shown is not None and shown.planned is not None and time.monotonic() >= self._applicable_from:
            self.proposal, self._applying = None, True
            self._show_options("applying …")
            self.run_worker(self._apply(shown))

    async def _apply(self, shown: Proposal) -> None:
        try:
            applied = await self._store.run(reruns.apply, shown.planned)
        except RekindleError as error:
            self.proposal, self._applying = shown, False
            self._show(self._lines(shown), f"error: {words.one_line(str(error))}")
            self._show_options("")
            return
        self._applying = False
        if applied is None:
            notice = "Not applied: jobs have changed, and this is the new plan."
            self._plan(notice, shown)
        else:
            self.dismiss(applied)

    def action_cancel(self) -> None:
        """Close the screen; nothing is changed. A plan that is being applied is awaited."""
        if not self._applying:
            self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        """Scroll the plan by lines."""
        self._scroll.scroll_relative(y=by, animate=False)


def _choice(name: str, key: str, values: tuple[str, ...], chosen: str) -> list[str | tuple[str, str]]:
    """Return an option with its key and values; the chosen one is in brackets."""
    shown: list[str | tuple[str, str]] = [(f"{name} (", "dim"), (key, "bold"), ("): ", "dim")]
    for value in values:
        label = "keep most" if value == KEEP_MOST else value
        shown += [(f"[{label}]", "bold") if value == chosen else (f" {label} ", "dim")]
    return [*shown, "   "]


def _after(values: tuple[str, ...], value: str) -> str:
    return values[(values.index(value) + 1) % len(values)] if value in values else values[0]
