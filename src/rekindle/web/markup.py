"""Values as HTML: filters of the templates."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jinja2
from markupsafe import Markup

from rekindle.domain.states import State
from rekindle.domain.texts.display import format_value
from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import words
from rekindle.web.terminal_text import terminal_html

SIGNS = {
    State.WAITING: "…",
    State.READY: "◇",
    State.QUEUED: "◈",
    State.RUNNING: "▶",
    State.COMPLETED: "✓",
    State.FAILED: "✗",
    State.CANCELED: "⊘",
}
"""A sign for each state, beside its word and its colour."""

_BY_WORD = {one.label: sign for one, sign in SIGNS.items()}


def state(value: State | str) -> Markup:
    """Return a state as a badge: a sign, the word and a class for the colour."""
    word = value.label if isinstance(value, State) else value
    return Markup('<span class="state state-{0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
        word, _BY_WORD.get(word, "•")
    )


def counts(by_state: Mapping[State, int]) -> Markup:
    """Return counts by state as a bar with numbers, in the order of a job's life."""
    given = [(one, number) for one, number in sorted(by_state.items()) if number]
    total = sum(number for _, number in given)
    text = ", ".join(f"{number:,} {one.label}" for one, number in given)
    at, pieces = 0.0, Markup()
    for one, number in given:
        width = 100 * number / total
        pieces += Markup('<rect class="fill-{}" x="{:.3f}" width="{:.3f}" height="10"/>').format(one.label, at, width)
        at += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(text or "no jobs", pieces)


def moment(at: float | None) -> Markup:
    """Return a time with its age: the page shows the age, and the time on hover."""
    if at is None:
        return Markup("")
    full = words.full_time(at)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        datetime.fromtimestamp(at, UTC).isoformat(), full, ago(at)
    )


def ago(at: float) -> str:
    """Return how long ago a time was, in one unit: `3 min ago`."""
    seconds = time.time() - at
    if seconds < 0:
        return words.full_time(at)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def _size(value: int | None) -> str:
    return "" if value is None else format_size(value)


def _number(value: int) -> str:
    return f"{value:,}"


def _bytes(value: int) -> str:
    return words.plural(value, "byte") if value < 1024 else format_size(value)


def _terminal(text: str) -> Markup:
    return terminal_html(text.encode(errors="surrogateescape"))[0]


def _value(value: Any) -> str:
    return words.one_line(format_value(value))


def _json(value: Any) -> str:
    return words.printable(json.dumps(value, ensure_ascii=False))


_OPTIONS = {
    "--cancel-running": "tick “cancel running jobs first”",
    "--subtasks all": "“all” under Subtasks",
    "leave out --subtasks": "leave Subtasks empty",
    "--from failed-step": "the mode “From the failed step”",
    "leave out --from": "the mode “From the beginning”",
}


def _options(text: str) -> str:
    """Return a text of the planner with the names of options as the rerun dialog has them."""
    for option, label in _OPTIONS.items():
        text = text.replace(option, label)
    return text


FILTERS: dict[str, Any] = {
    "state": state,
    "counts": counts,
    "moment": moment,
    "duration": words.duration,
    "full_time": words.full_time,
    "line": words.one_line,
    "printable": words.printable,
    "size": _size,
    "bytes": _bytes,
    "value": _value,
    "terminal": _terminal,
    "number": _number,
    "options": _options,
    "json": _json,
}


def environment() -> jinja2.Environment:
    """Return the templates of the console and of reports. All values are escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("rekindle.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    return made
