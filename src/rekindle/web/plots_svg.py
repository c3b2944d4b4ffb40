"""Plots as SVG: the same on the console's pages and in a report, without scripts. Colours are classes of plots.css, and
each mark has a title; a table beside each plot has its numbers as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from rekindle.domain.texts.quantities import format_size
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.run_plots import GroupSpread, Lane, OutcomeBins, Spread, TimedAttempt, Timeline

WIDTH = 960
_LEFT, _RIGHT, _AXIS = 64, 12, 26  # margins
_BARS_HEIGHT = 200
_ROW, _LANE = 22, 16
_CAUSES = 6
"""The number of colours for causes; more causes share the last."""

Link = Callable[["TimedAttempt"], str] | None
"""Returns the address of an attempt; None: there are no links."""


def outcome_class(name: str, outcomes: Sequence[str]) -> str:
    """Return the class of an outcome's colour."""
    if name in ("completed", "canceled"):
        return f"fill-{name}"
    causes = [one for one in outcomes if one not in ("completed", "canceled")]
    return f"fill-cause-{min(causes.index(name), _CAUSES - 1)}"


def outcomes(found: OutcomeBins) -> Markup:
    """Draw how many attempts ended over time, by outcome."""
    names, number = list(found.counts), len(next(iter(found.counts.values()), ()))
    highest = max(1, found.highest)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, number)
    marks = [*_grid(highest)]
    for at in range(number):
        below, when = 0, words.full_time(found.start + at * found.width)
        for name in names:
            count = found.counts[name][at]
            if count:
                height = _BARS_HEIGHT * count / highest
                y = 8 + _BARS_HEIGHT - _BARS_HEIGHT * below / highest - height
                marks.append(
                    _rect(
                        outcome_class(name, names),
                        (_LEFT + at * step, y, max(1.0, step - 1), height),
                        f"{count:,} {name}, {when} and {words.duration(found.width)} after",
                    )
                )
                below += count
    marks += _time_axis(found.start, found.start + number * found.width, 8 + _BARS_HEIGHT)
    return _svg(8 + _BARS_HEIGHT + _AXIS, "Attempts that ended over time, by outcome", marks)


def _grid(highest: int) -> Iterator[Markup]:
    for value in sorted({0, highest // 2, highest}):
        y = 8 + _BARS_HEIGHT - _BARS_HEIGHT * value / highest
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, WIDTH - _RIGHT, y, y)
        yield _text(_LEFT - 6, y + 4, f"{value:,}", "end")


def spreads(found: Sequence[GroupSpread], what: str) -> Markup:
    """Draw the spread of `seconds` or `memory` for each group, on a logarithmic scale: a line from the smallest to the
    largest value, a box between the quartiles, and a mark at the median."""
    rows = [(one, spread) for one in found if (spread := getattr(one, what)) is not None]
    show: Callable[[float], str] = words.duration if what == "seconds" else lambda value: format_size(int(value))
    least = 1e-3 if what == "seconds" else 1024.0
    low = max(least, min((spread.low for _, spread in rows), default=least))
    high = max(low * 10, max((spread.high for _, spread in rows), default=low))
    left = 240

    def x(value: float) -> float:
        share = math.log(max(value, low) / low) / math.log(high / low)
        return left + (WIDTH - left - 90) * share

    marks: list[Markup] = []
    for at, (group, spread) in enumerate(rows):
        y = 8 + at * _ROW + _ROW / 2
        later = "+" if group.number == 4 else ""
        label = words.cut(words.one_line(group.template), 24, "middle")
        marks.append(_text(left - 8, y + 4, f"{label} · {group.number}{later}", "end"))
        marks.append(
            _box(x, y, spread, f"{group.template}, attempt {group.number}{later}: {_spread_text(spread, show)}")
        )
        marks.append(_text(WIDTH - 6, y + 4, show(spread.median), "end"))
    return _svg(
        16 + len(rows) * _ROW, f"Spread of {'durations' if what == 'seconds' else 'peak memory'} by group", marks
    )


def _box(x: Callable[[float], float], y: float, spread: Spread, title: str) -> Markup:
    ends = [x(value) for value in (spread.low, spread.lower, spread.median, spread.upper, spread.high)]
    return Markup(
        '<g><title>{}</title><line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
        '<rect class="box" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="12"/>'
        '<line class="median" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/></g>'
    ).format(
        title, ends[0], max(ends[4], ends[0] + 1), y, y,
        ends[1], y - 6, max(2.0, ends[3] - ends[1]), ends[2], ends[2], y - 7, y + 7,
    )  # fmt: skip


def _spread_text(spread: Spread, show: Callable[[float], str]) -> str:
    return (
        f"median {show(spread.median)}, half between {show(spread.lower)} and {show(spread.upper)}, "
        f"all between {show(spread.low)} and {show(spread.high)} ({words.plural(spread.count, 'attempt')})"
    )


def timeline(found: Timeline, link: Link) -> Markup:
    """Draw what ran where. Attempts of the critical path have a frame."""
    span = max(found.end - found.start, 1e-9)
    left = 110

    def x(at: float) -> float:
        return left + (WIDTH - left - _RIGHT) * (at - found.start) / span

    marks: list[Markup] = []
    host = None
    for at, lane in enumerate(found.lanes):
        y = 8 + at * _LANE
        if lane.host != host:
            host = lane.host
            marks.append(_text(left - 8, y + 12, words.cut(words.one_line(host) or "?", 13, "middle"), "end"))
            if at:
                marks.append(Markup('<line class="grid" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, y, y))
        marks += _bars(lane, y, x, link)
    marks += _time_axis(found.start, found.end, 8 + len(found.lanes) * _LANE, left)
    return _svg(8 + len(found.lanes) * _LANE + _AXIS, "What ran where, over time", marks, links=link is not None)


def _bars(lane: Lane, y: float, x: Callable[[float], float], link: Link) -> Iterator[Markup]:
    for bar in lane.bars:
        one = bar.attempt
        outcome = one.state.label + (f" ({one.cause})" if one.cause else "")
        title = f"{one.name}, attempt {one.number}: {outcome}, {words.duration(bar.end - one.started)}"
        title += ", on the critical path" if bar.critical else ""
        shape = (x(one.started), y + 2, max(1.0, x(bar.end) - x(one.started) - 0.5), _LANE - 4)
        mark = _rect(f"fill-{one.state.label}{' critical' if bar.critical else ''}", shape, title)
        yield (
            mark
            if link is None
            else Markup('<a href="{}" tabindex="-1" aria-label="{}">{}</a>').format(link(one), title, mark)
        )


def _time_axis(start: float, end: float, y: float, left: float = _LEFT) -> Iterator[Markup]:
    for number in range(5):
        share = number / 4
        x = left + (WIDTH - left - _RIGHT) * share
        anchor = "start" if not number else "end" if number == 4 else "middle"
        at = start + (end - start) * share
        text = words.short_time(at) if number in (0, 4) else f"+{words.duration(at - start)}"
        yield Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(x, x, y, y + 4)
        yield _text(x, y + 18, text, anchor)


def _rect(name: str, shape: tuple[float, float, float, float], title: str) -> Markup:
    """Return a rectangle; with hatching, as a second sign beside the colour, for what did not complete."""
    mark = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(name, *shape)
    if "cause" in name or "failed" in name or "canceled" in name:
        mark += Markup('<rect fill="url(#hatch)" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(*shape)
    return Markup("<g><title>{}</title>{}</g>").format(title, mark)


_HATCH = Markup(
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch" x1="0" x2="0" y1="0" y2="6"/></pattern></defs>'
)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _svg(height: float, label: str, marks: Sequence[Markup], *, links: bool = False) -> Markup:
    role = "group" if links else "img"
    return Markup('<svg class="plot" viewBox="0 0 {} {:.0f}" role="{}" aria-label="{}">{}{}</svg>').format(
        WIDTH, height, role, label, _HATCH, Markup().join(marks)
    )
