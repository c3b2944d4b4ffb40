"""The live line of a run on a terminal. The only module that imports rich."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rekindle.cli.showing import drawing
from rekindle.cli.showing.progress import News, share, summary
from rekindle.engine.results import Progress


class LiveDisplay:
    """A bar, the counts by state, and the names of some jobs that run; new kinds of failure scroll by above."""

    def __init__(self, news: News) -> None:
        self._news = news
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
        for line in self._news.lines(progress):
            self._console.print(Text.from_ansi(line))
        self._live.update(self._drawn(progress), refresh=True)

    def _drawn(self, progress: Progress) -> Group:
        ended, total = share(progress)
        row = Table.grid(padding=(0, 1))
        percent = f"{100 * ended // total if total else 100:3d}%"
        row.add_row(ProgressBar(total=max(1, total), completed=ended, width=24), percent, f"{ended:,} of {total:,}")
        parts: list[RenderableType] = [row, Text.from_ansi(summary(progress), overflow="ellipsis", no_wrap=True)]
        if progress.running:
            names = ", ".join(drawing.flat(name) for name in progress.running)
            parts.append(Text(f"running: {names}", style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*parts)
