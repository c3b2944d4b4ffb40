"""`rekindle attempts diff`: two attempts side by side."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import Any

import click

from rekindle.cli import drawing, shapes
from rekindle.cli.drawing import Column
from rekindle.cli.opening import opened
from rekindle.cli.options import json_option
from rekindle.domain.differences import Difference
from rekindle.domain.models import Attempt
from rekindle.domain.quantities import format_size
from rekindle.engine import look
from rekindle.engine.compare import compare

_BYTES = ("max_rss_bytes", "modified.memory", "template.resources.memory")
_SECONDS = ("seconds", "cpu_seconds", "modified.time", "template.resources.time")
_LEAD = 8  # columns that are kept of what two long values begin with alike


@click.command()
@click.argument("a", type=click.IntRange(min=1), metavar="A")
@click.argument("b", type=click.IntRange(min=1), metavar="B")
@json_option
def diff(a: int, b: int, as_json: bool) -> None:
    """Show what differs between two attempts, A and B (ids), side by side: how they were defined and modified, where
    they started and ran, how they and their steps ended, what they took and returned. What is alike is left out.

    \b
    Example:
      rekindle attempts diff 12 15
      rekindle attempts diff 12 15 --json
    """
    with opened() as session:
        one, other, found = compare(session, a, b)
        names = {row.job.id: row.job.name for row in look.jobs(session, sorted({one.job, other.job}))}
    if as_json:
        told = [{"field": each.field, "a": each.a, "b": each.b} for each in found]
        shapes.emit({"a": a, "b": b, "differences": told})
        return
    for attempt in (one, other):
        click.echo(_headline(attempt, names[attempt.job]))
    click.echo(_table(a, b, found) if found else "nothing differs")


def _headline(one: Attempt, name: str) -> str:
    return drawing.cut(
        f"attempt {one.id}: number {one.number} of job {one.job} {drawing.flat(name)}", drawing.terminal_width()
    )


def _table(a: int, b: int, found: list[Difference]) -> str:
    columns = [
        Column("FIELD", cut="middle"),
        Column(f"ATTEMPT {a}", cut="end"),
        Column(f"ATTEMPT {b}", cut="end"),
    ]
    return drawing.table(columns, [(each.field, *_values(each)) for each in found])


def _values(one: Difference) -> tuple[str, str]:
    """Both values in words. Long ones start shortly before the place from which they differ: cut at their ends, they
    would look alike."""
    a, b = drawing.flat(_value(one.field, one.a)), drawing.flat(_value(one.field, one.b))
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    if alike <= _LEAD + 1 or max(len(a), len(b)) <= drawing.terminal_width() // 3:
        return a, b
    left_out = alike - _LEAD
    return "…" + a[left_out:], "…" + b[left_out:]


def _value(field: str, value: Any) -> str:
    if value is None:
        return "-"
    if field in _BYTES:
        return format_size(value)
    if field in _SECONDS or (field.startswith("steps.") and field.endswith(".seconds")):
        return drawing.lasting(value)
    if field == "start_step":
        return str(value + 1)  # as people count, and as the other commands do
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
