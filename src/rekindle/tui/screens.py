"""Screens above the list of jobs: texts that are read again while they are shown, and a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rekindle.domain.errors import RekindleError
from rekindle.tui import texts

if TYPE_CHECKING:
    from textual.app import ComposeResult

ReadText = Callable[[int], Awaitable[tuple[str, Iterable[Text]]]]
"""Reads the title and the lines of a text, for a number of columns."""


class TextScreen(ModalScreen[None]):
    """A text that fills the screen. `follow`: it is shown from its end, stays there while it grows, and grows without
    changes of the store."""

    BINDINGS = [
        Binding("escape,q", "dismiss"),
        Binding("up,k", "scroll(-1)"),
        Binding("down,j", "scroll(1)"),
    ]

    def __init__(self, read: ReadText, *, follow: bool = False) -> None:
        super().__init__()
        self._read, self.follow = read, follow
        # Attributes: the text may be read while the screen is closed, and has no children any more.
        self._title = Static(classes="title", markup=False)
        self._text = Static(markup=False)
        self._scroll = VerticalScroll(self._text, id="scroll")

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield from (self._title, self._scroll)
        yield Static(texts.line("esc back  ↑ ↓ PgUp PgDn scroll"), classes="keys")

    def on_mount(self) -> None:
        """Read the text."""
        self._scroll.focus()
        self.run_worker(self.reload(), exclusive=True)

    async def reload(self) -> None:
        """Read the text again."""
        try:
            title, found = await self._read(self.size.width - 2)
            lines = list(found)
        except RekindleError as error:
            title, lines = "", [texts.line(str(error))]
        self._title.update(texts.line(title, "bold"))
        scroll = self._scroll
        at_end = self.follow and scroll.scroll_offset.y >= scroll.max_scroll_y
        self._text.update(Text("\n").join(lines))
        if at_end:
            self.call_after_refresh(scroll.scroll_end, animate=False)

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self._scroll.scroll_relative(y=by, animate=False)


class Question(ModalScreen[bool]):
    """A question that is answered with y or n."""

    BINDINGS = [Binding("y", "answer(True)"), Binding("n,escape,q", "answer(False)")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(Text(f"{self._question}\n\ny yes   n no"), id="question", markup=False)

    def action_answer(self, answer: bool) -> None:
        """Close the question."""
        self.dismiss(answer)
