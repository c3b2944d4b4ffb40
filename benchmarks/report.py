"""Results as text: for a terminal, and as the page of results in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness import Measurement, Result, Target

PAGE_START = """# Measurements

What rekindle costs, measured beside a limit of the machine or beside another tool in the same minutes. `make bench`
makes these measurements on your machine, and `make bench ROW="commands calls"` some of them. A value is the median of
the rounds, with the least and the most in parentheses. Memory is the peak of the largest process, and processor time is
that of all processes. `n^1.02` says how the time grows with the size, fitted at the sizes that the row names.

Where a target is short, [Where it is not fast](why-it-is-fast.md#where-it-is-not-fast) says what was tried, and where
the limit is.

This page is written by `make bench-table` from the newest complete results in `benchmarks/history`.
"""


def text(result: Result, before: Result | None) -> str:
    """Return the lines that show a result in a terminal, beside the last one of the same machine."""
    if result.unavailable:
        return f"\n== {result.row}: not measured: {result.unavailable}"
    plural = "" if result.rounds == 1 else "s"
    lines = [f"\n== {result.row}: {result.about} ({result.size:,}; {result.rounds} round{plural} in turn)"]
    lines.append(f"   {'':44}{'median':>12}  {'least - most':22}{'processor':>11}{'memory':>9}")
    for one in result.measurements:
        if not one.values:
            lines.append(f"   {one.name:44}{one.note}")
            continue
        spent = shown(median(one.processor), "s") if one.processor else ""
        peak = shown(median(one.memory), "B") if one.memory else ""
        line = f"   {one.name:44}{shown(one.value, one.unit):>12}  {spread(one):22}{spent:>11}{peak:>9}  {one.note}"
        lines.append(line.rstrip())
    for one in result.measurements:
        lines += [f"   {one.name}: {judged(one, target, result.by_name)}" for target in one.targets]
    lines += _changes(result, before)
    return "\n".join(lines)


def _changes(result: Result, before: Result | None) -> Iterator[str]:
    """Yield a line for each measurement that the last result has too."""
    if before is None:
        return
    yield f"   beside the last run here ({before.date[:16].replace('T', ' ')}, {before.commit or 'no commit'}):"
    for one in result.measurements:
        other = before.by_name.get(one.name)
        if other is None or other.unit != one.unit or not (one.values and other.values and other.value):
            continue
        ratios = [
            f"ratio to {target.beside} {now:.2f}, then {then:.2f}"
            for target in one.targets
            if (now := one.quantity(target, result.by_name)) is not None and target.of == "ratio"
            if (then := other.quantity(target, before.by_name)) is not None
        ]
        times = f"{one.value / other.value:.2f} of {shown(other.value, other.unit)}"
        yield f"      {one.name}: " + "; ".join((times, *ratios))


def judged(one: Measurement, target: Target, others: Mapping[str, Measurement]) -> str:
    """Return a quantity, its limit and whether it is met, such as "0.73 of xargs; at least 1: short"."""
    value = one.quantity(target, others)
    found = _quantity(one, target, value) + _processor(one, target, others)
    if value is None or (met := target.met(value)) is None:
        return found
    return f"{found}; {limit(one, target)}: {'met' if met else 'short'}"


def _processor(one: Measurement, target: Target, others: Mapping[str, Measurement]) -> str:
    """Return the ratio of processor times beside a ratio, which other work on the machine disturbs less."""
    other = others.get(target.beside)
    if target.of != "ratio" or other is None or one.note or not (one.processor and other.processor):
        return ""
    spent, others_spent = median(one.processor), median(other.processor)
    return f" ({spent / others_spent:.2f} times its processor time)" if others_spent else ""


def _quantity(one: Measurement, target: Target, value: float | None) -> str:
    if value is None:
        return f"{target.of} not measured"
    match target.of:
        case "ratio":
            number = f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
            return f"{number} {'of' if one.unit == '/s' else 'times'} {target.beside}"
        case "exponent":
            return f"n^{value:.2f}"
        case "memory":
            return f"{shown(value, 'B')} of memory"
        case "processor":
            return f"{shown(value, 's')} of processor"
    return shown(value, one.unit)


def limit(one: Measurement, target: Target) -> str:
    """Return a target as text, such as "at most 400 MB"."""
    number = target.most if target.most is not None else target.least
    if number is None:
        return ""
    unit = {"value": one.unit, "memory": "B", "processor": "s"}.get(target.of, "")
    words = "at most" if target.most is not None else "at least"
    return f"{words} {'n^' if target.of == 'exponent' else ''}{shown(number, unit) if unit else f'{number:g}'}"


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, such as 12.3 ms, 1,953 /s or 62 MB."""
    if unit == "B":
        return f"{value / 1e6:,.0f} MB" if value >= 1e6 else f"{value / 1e3:,.0f} kB"
    if unit == "s":
        for least, factor, name in ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs")):
            if abs(value) >= least:
                return f"{digits(value * factor)} {name}"
    return f"{digits(value)} {unit}".rstrip()


def digits(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(one: Measurement) -> str:
    """Return the least and the most of the rounds; an empty text for one round."""
    if len(one.values) < 2:
        return ""
    return f"{shown(min(one.values), one.unit)} - {shown(max(one.values), one.unit)}"


def page(results: Iterable[Result]) -> str:
    """Return the page of results in Markdown: the targets, then a table for each row, those with peers last."""
    rows = sorted(results, key=lambda one: (one.row.startswith("peer-"), one.row))
    parts = [PAGE_START]
    if targets := [line for one in rows for line in _targets(one)]:
        head = "| row | | measured | target | |\n|---|---|---|---|---|"
        parts.append("\n".join(["## Targets\n", head, *targets, ""]))
    for one in rows:
        parts.append(f"## {one.about[:1].upper()}{one.about[1:]}\n")
        if one.unavailable:
            parts.append(f"`python -m benchmarks {one.row}`. Not measured: {one.unavailable}.\n")
        else:
            parts.append(f"`python -m benchmarks {one.row}`, {_circumstances(one)}\n")
            parts.append(table(one))
    return "\n".join(parts)


def _targets(one: Result) -> Iterator[str]:
    """Yield a line of the table of targets for each limit of a row."""
    for each in one.measurements:
        for target in each.targets:
            value = each.quantity(target, one.by_name)
            met = None if value is None else target.met(value)
            if met is not None:
                cells = (
                    one.row,
                    each.name,
                    _quantity(each, target, value),
                    limit(each, target),
                    "met" if met else "short",
                )
                yield f"| {' | '.join(map(_cell, cells))} |"


def _circumstances(one: Result) -> str:
    sizes = f"; growth at {', '.join(f'{size:,}' for size in one.sizes)}" if len(one.sizes) > 1 else ""
    day = datetime.fromisoformat(one.date)
    loaded = f", while other work ran (load {one.load:.1f})" if one.load >= 0.5 else ""
    rounds = f"{one.rounds} round" + ("s" if one.rounds != 1 else "")
    return f"size {one.size:,}, {rounds}{sizes}. {one.machine}; {day.day} {day:%B %Y}, commit {one.commit}{loaded}."


def table(one: Result) -> str:
    """Return the measurements of a result as a table in Markdown."""
    lines = ["| | median (least - most) | processor | memory | beside, target, notes |", "|---|---|---|---|---|"]
    for each in one.measurements:
        if not each.values:
            lines.append(f"| {_cell(each.name)} | | | | {_cell(each.note)} |")
            continue
        around = f" ({spread(each)})" if spread(each) else ""
        spent = shown(median(each.processor), "s") if each.processor else ""
        peak = shown(median(each.memory), "B") if each.memory else ""
        said = [*(judged(each, target, one.by_name) for target in each.targets), each.note]
        targets = "<br>".join(filter(None, said))
        cells = each.name, f"{shown(each.value, each.unit)}{around}", spent, peak, targets
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("*", "\\*")
