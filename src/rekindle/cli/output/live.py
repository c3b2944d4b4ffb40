"""The live progress display of a run on a terminal. The only module that imports rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rekindle.cli.output import terminal
from rekindle.cli.output.progress import NewFailures, ended_share, summary

if TYPE_CHECKING:
    from types import TracebackType

    from rekindle.engine.results import Progress


class LiveDisplay:
    """Shows a progress bar, counts by state, and names of running jobs. New kinds of failure are printed above."""

    def __init__(self, failures: NewFailures) -> None:
        self._failures = failures
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __call__(self, progress: Progress) -> None:
        for line in self._failures.lines(progress):
            self._console.print(Text.from_ansi(line))
        self._live.update(self._render(progress), refresh=True)

    def _render(self, progress: Progress) -> Group:
        ended, total = ended_share(progress)
        row = Table.grid(padding=(0, 1))
        percent = f"{100 * ended // total if total else 100:3d}%"
        row.add_row(ProgressBar(total=max(1, total), completed=ended, width=24), percent, f"{ended:,} of {total:,}")
        parts: list[RenderableType] = [row, Text.from_ansi(summary(progress), overflow="ellipsis", no_wrap=True)]
        if progress.running:
            names = ", ".join(terminal.one_line(name) for name in progress.running)
            parts.append(Text(f"running: {names}", style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*parts)
