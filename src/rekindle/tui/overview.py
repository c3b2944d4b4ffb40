"""The head of the screen: each workflow with its counts, and the runners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from rekindle.domain.states import ACTIVE, State
from rekindle.presentation import words
from rekindle.tui import texts

if TYPE_CHECKING:
    from rekindle.engine.results import DeadRunner, WorkflowStatus

_MOST_WORKFLOWS = 4
_BAR = 24
_ENDED = (State.COMPLETED, State.FAILED, State.CANCELED)
_ORDER = ("running", "ready", "held", "waiting", "failed", "canceled", "completed", "empty")
_DEATHS = {"gone": "is dead", "elsewhere": "works elsewhere", "expired": "has let its lease expire"}


def overview(found: Sequence[WorkflowStatus], width: int) -> Text:
    """Return the head of the screen for these workflows."""
    if not found:
        return texts.line("no workflows: `rekindle run SPEC` runs one")
    ordered = sorted(found, key=lambda one: (_ORDER.index(one.state), -one.workflow.id))
    lines = [line for one in ordered[:_MOST_WORKFLOWS] for line in _workflow(one, width, alone=len(found) == 1)]
    if len(found) > _MOST_WORKFLOWS:
        lines.append(texts.line(f"and {len(found) - _MOST_WORKFLOWS:,} more: rekindle status; -w shows one"))
    lines += _runners(found)
    return Text("\n").join(lines)


def _workflow(one: WorkflowStatus, width: int, *, alone: bool) -> Iterator[Text]:
    """Yield the lines of a workflow: two if it is the only one, else one."""
    total = sum(one.counts.values())
    ended = sum(one.counts.get(state, 0) for state in _ENDED)
    head = Text.assemble(
        (f"{one.workflow.id} {words.cut(words.one_line(one.workflow.name), max(8, width // 3))}", "bold"),
        "  ",
        (one.state, texts.STYLES.get(one.state, "")),
    )
    counts = _counts(one)
    if not alone:
        yield Text.assemble(head, f"  {ended:,} of {total:,} ended: ", counts, no_wrap=True, overflow="ellipsis")
        return
    filled = _BAR * ended // total if total else 0
    time = f"  {words.duration(one.seconds)}" if one.seconds is not None else ""
    bar = f"  {'━' * filled}{'─' * (_BAR - filled)}  {ended:,} of {total:,} ended{time}"
    yield Text.assemble(head, bar, no_wrap=True, overflow="ellipsis")
    yield Text.assemble(counts, *_notes(one), no_wrap=True, overflow="ellipsis")


def _counts(one: WorkflowStatus) -> Text:
    parts = [
        Text.assemble(f"{number:,} ", (state.label, texts.STYLES.get(state.label, "")))
        for state, number in sorted(one.counts.items())
        if number
    ]
    return Text(", ").join(parts) if parts else Text("no jobs")


def _notes(one: WorkflowStatus) -> Iterator[str]:
    held = sum(one.held.values())
    yield f"; {held:,} held" if held else ""
    yield f"; {one.delayed:,} wait for a retry" if one.delayed else ""
    yield f"; {one.overtaken:,} stale" if one.overtaken else ""


def _runners(found: Sequence[WorkflowStatus]) -> Iterator[Text]:
    """Yield a line for the runners that are alive, or that none is; and one for dead ones that had jobs."""
    alive = {runner.id: runner for one in found for runner in one.runners}
    if alive:
        named = ", ".join(
            f"{one.label or one.host} (pid {one.pid}, {words.plural(one.slots, 'slot')})" for one in alive.values()
        )
        yield texts.line(f"{words.plural(len(alive), 'runner')} alive: {named}")
    else:
        ready = sum(one.counts.get(State.READY, 0) - sum(one.held.values()) for one in found)
        active = sum(one.counts.get(state, 0) for state in ACTIVE for one in found)
        waiting = f"{words.plural(ready, 'job')} ready: rekindle work" if ready or active else "no job is ready"
        yield texts.line(f"no runner is alive; {waiting}", "black on yellow" if ready or active else "")
    dead: dict[int, DeadRunner] = {one.runner.id: one for status in found for one in status.dead_runners}
    for one in dead.values():
        keeper = f"runner {one.keeper} resolves its jobs" if one.keeper else "its jobs wait: rekindle work"
        yield texts.line(f"runner {one.runner.id} {_DEATHS.get(one.why, 'was taken for dead')}; {keeper}", "yellow")
