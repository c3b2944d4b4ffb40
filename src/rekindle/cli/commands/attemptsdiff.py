"""`rekindle attempts diff`: two attempts side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import json_option
from rekindle.cli.showing import drawing, reasons, shapes
from rekindle.cli.showing.drawing import Column
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.changes.differences import NAMED, Difference
from rekindle.domain.changes.staleness import OPAQUE
from rekindle.domain.models import Attempt
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.values import value_text
from rekindle.engine.looking import look
from rekindle.engine.looking.compare import compare
from rekindle.engine.results import Compared, LogParting, OutputDiff

_BYTES = ("max_rss_bytes", "modified.memory", "template.resources.memory", "resources.memory")
_SECONDS = ("seconds", "cpu_seconds", "modified.time", "template.resources.time", "resources.time")
_DIGESTS = ("code.", "inputs.", "outputs.", "needs.", NAMED)
_PARTS = ("environment.interpreter.", "environment.distribution.", "environment.program.")
_COMMAND = re.compile(r"template\.steps\..+\.run")
_LEAD = 8  # columns that are kept of what two long values begin with alike
_FIRST = 20  # rows of a kind, or lines of a file, that are shown without -v


@click.command()
@click.argument("a", type=click.IntRange(min=1), metavar="A")
@click.argument("b", type=click.IntRange(min=1), metavar="B")
@click.option("-v", "--verbose", is_flag=True, help="Show every path of a result and every line of an output.")
@json_option
def diff(a: int, b: int, verbose: bool, as_json: bool) -> None:
    """Show what differs between two attempts, A and B (ids), of one job or of two. What is alike is left out.

    First side by side: parameters, definition, what a rerun modified, resources, code, environment, inputs, files that
    commands name, what the jobs that they need came to, host, how they and their steps ended, what they took, results,
    outputs. Then outputs line by line, where they are small texts and still there or saved (`rerun --keep-outputs`).
    Last the first line at which each log parts.

    \b
    Example:
      rekindle attempts diff 12 15
      rekindle attempts diff 12 15 --json
    """
    with opened() as session:
        with reading_shown() as tell:
            found = compare(session, a, b, tell)
        names = {row.job.id: row.job.name for row in look.jobs(session, sorted({found.a.job, found.b.job}))}
    if as_json:
        shapes.emit(_document(found))
        return
    for attempt in (found.a, found.b):
        click.echo(_headline(attempt, names[attempt.job]))
    if not (found.fields or found.outputs or found.logs):
        click.echo("nothing differs")
    _draw(found, None if verbose else _FIRST)


def _document(found: Compared) -> dict[str, Any]:
    return {
        "a": found.a.id,
        "b": found.b.id,
        "differences": [
            {"field": each.field, "a": each.a, "b": each.b}
            | ({"implicit": True} if each.field.startswith(NAMED) else {})
            for each in found.fields
        ],
        "outputs": [
            {
                "name": one.name,
                "a": {"at": one.at[0], "lost": one.lost[0]},
                "b": {"at": one.at[1], "lost": one.lost[1]},
                "lines": list(one.lines),
                "why": one.why or None,
            }
            for one in found.outputs
        ],
        "logs": [
            {"step": one.step, "stream": one.stream, "line": one.line, "a": one.a, "b": one.b} for one in found.logs
        ],
    }


def _headline(one: Attempt, name: str) -> str:
    return _cut(f"attempt {one.id}: number {one.number} of job {one.job} {drawing.flat(name)}")


def _draw(found: Compared, most: int | None) -> None:
    blocks = [each for each in found.fields if _is_block(each)]
    defined = {each.field for each in found.fields}
    rows = [each for each in found.fields if each not in blocks and f"template.{each.field}" not in defined]
    results = [each for each in rows if _is_result(each)]
    hidden = set() if most is None else {each.field for each in results[most:]}
    if shown := [each for each in rows if each.field not in hidden]:
        click.echo(_table(found.a.id, found.b.id, shown))
    if hidden:
        click.echo(f"  … and {drawing.many(len(hidden), 'more path')} of the results (-v shows all)")
    for each in blocks:
        click.echo(f"\n{_cut(drawing.flat(each.field))}:")
        _lines(reasons.command_diff(each.a, each.b), most)
    if found.outputs:
        click.echo("\noutputs:")
        for output in found.outputs:
            _draw_output(output, (found.a.id, found.b.id), most)
    if found.logs:
        click.echo("\nlogs part at:")
        for log in found.logs:
            _draw_log(log, (found.a.id, found.b.id))


def _is_block(one: Difference) -> bool:
    """A command that has several lines, or is a list of words: it is told as a diff."""
    if not _COMMAND.fullmatch(one.field) or one.a is None or one.b is None:
        return False
    return any(isinstance(value, list) or "\n" in value for value in (one.a, one.b))


def _is_result(one: Difference) -> bool:
    return one.field.startswith(("result.", "result["))


def _draw_output(one: OutputDiff, ids: tuple[int, int], most: int | None) -> None:
    lost = [f"that of attempt {number} is {why}" for number, why in zip(ids, one.lost, strict=True) if why is not None]
    said = ", ".join(lost) or one.why or ("" if one.lines else "the ends of lines differ")
    click.echo(_cut(f"  {drawing.flat(one.name)}{f': {said}' if said else ''}"))
    _lines((_coloured(f"{line[:2]}{drawing.flat(line[2:])}") for line in one.lines), most, 4)


def _draw_log(one: LogParting, ids: tuple[int, int]) -> None:
    click.echo(f"  {drawing.flat(one.step)}, {one.stream}, line {one.line:,}")
    width = max(len(str(number)) for number in ids)
    texts = _parted("" if one.a is None else drawing.flat(one.a), "" if one.b is None else drawing.flat(one.b))
    for number, text, line in zip(ids, texts, (one.a, one.b), strict=True):
        shown = click.style("(it has ended)", dim=True) if line is None else text
        click.echo(_cut(f"    {number:>{width}}: {shown}") if line is not None else f"    {number:>{width}}: {shown}")


def _lines(lines: Iterable[str], most: int | None, indent: int = 2) -> None:
    every = list(lines)
    for line in every[:most]:
        click.echo(" " * indent + line)
    if most is not None and len(every) > most:
        click.echo(" " * indent + f"… and {drawing.many(len(every) - most, 'more line')} (-v shows all)")


def _coloured(line: str) -> str:
    cut = drawing.cut(line, drawing.terminal_width() - 4)
    return click.style(cut, fg="red" if line[:1] == "-" else "green")


def _cut(line: str) -> str:
    return drawing.cut(line, drawing.terminal_width())


def _table(a: int, b: int, found: Sequence[Difference]) -> str:
    columns = [
        Column("FIELD", cut="middle"),
        Column(f"ATTEMPT {a}", cut="end"),
        Column(f"ATTEMPT {b}", cut="end"),
    ]
    return drawing.table(columns, [(_field(each.field), *_values(each)) for each in found])


def _field(field: str) -> str:
    return reasons.named_file(field.removeprefix(NAMED)) if field.startswith(NAMED) else field


def _values(one: Difference) -> tuple[str, str]:
    """Both values in words. Of an outer variable no more is known than that it differs."""
    if one.field.startswith("environment.") and not one.field.startswith(_PARTS):
        return ("set" if one.a else "not set", "not set" if not one.b else "differs" if one.a else "set")
    return _parted(drawing.flat(_value(one.field, one.a)), drawing.flat(_value(one.field, one.b)))


def _parted(a: str, b: str) -> tuple[str, str]:
    """Two texts. Long ones start shortly before the place from which they differ: cut at their ends, they would look
    alike."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    if alike <= _LEAD + 1 or max(len(a), len(b)) <= drawing.terminal_width() // 3:
        return a, b
    left_out = alike - _LEAD
    return "…" + a[left_out:], "…" + b[left_out:]


def _value(field: str, value: Any) -> str:
    if value is None:
        return "-"
    if field.startswith(_DIGESTS):
        return _digest(str(value))
    if field in _BYTES:
        return format_size(value)
    if field in _SECONDS or (field.startswith("steps.") and field.endswith(".seconds")):
        return drawing.lasting(value)
    if field == "start_step":
        return str(value + 1)  # as people count, and as the other commands do
    return value_text(value)


def _digest(digest: str) -> str:
    if digest.startswith(OPAQUE):
        return f"that of attempt {digest.removeprefix(OPAQUE)}"
    return reasons.digest_shown(digest) if digest else "not there"
