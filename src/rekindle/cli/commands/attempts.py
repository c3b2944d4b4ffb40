"""`rekindle attempts`: list, show and diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import JsonForm, json_option, json_rows_options
from rekindle.cli.output import attempt_tables, json_output, terminal
from rekindle.cli.output.attempt_tables import FIRST_SUBTASKS, subtasks_table
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.output.pages import limit_options, page_options, print_page_note, print_table
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.domain.texts.display import mask_json_text
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.queries import job_queries, lists, selections
from rekindle.engine.queries.attempt_comparison import compare_attempts
from rekindle.engine.queries.details import attempt_details
from rekindle.engine.results import PageRequest
from rekindle.presentation import answers, differences, job_documents, reasons, words
from rekindle.presentation.attempts import partial_output
from rekindle.presentation.facts import attempt_facts
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.actions import ActionSet
    from rekindle.domain.changes.differences import Difference
    from rekindle.domain.changes.fingerprints import FileFingerprints
    from rekindle.domain.models import Attempt
    from rekindle.engine.queries.attempt_comparison import AttemptComparison, LogDivergence, OutputDiff

_FIRST = 20  # rows of a kind, or lines of a file, that are printed without -v

_HERE = "rekindle.cli.commands.attempts"

COMMANDS = {
    "list": Entry(f"{_HERE}:list_attempts", "List attempts, archived ones too."),
    "show": Entry(f"{_HERE}:show", "Show everything about an attempt."),
    "diff": Entry(f"{_HERE}:diff", "Show what differs between two attempts."),
}


@click.group("attempts", cls=LazyGroup, entries=COMMANDS)
def attempts() -> None:
    """List, show and compare attempts, the executions of jobs. A rerun archives attempts and never removes one.

    \b
    Example:
      rekindle attempts list train
      rekindle attempts show 12
      rekindle attempts diff 12 15
    """


@click.command("list")
@selection_options
@click.option("--live", is_flag=True, help="List live attempts only.")
@page_options
@json_rows_options
def list_attempts(flags: SelectionFlags, live: bool, page: PageRequest, as_json: JsonForm | None) -> None:
    """List attempts, archived ones too: of all jobs, or of a SELECTION. The oldest comes first.

    \b
    Example:
      rekindle attempts list -s failed
      rekindle attempts list train --live --json
    """
    selection = parse_selection(flags)
    with opened() as session:
        with lists.attempts(session, selection, page, live=live) as found:
            if as_json:
                json_output.emit_rows("attempts", map(answers.attempt_row, found.rows), as_json)
            elif found.total:
                rows = ((row.attempt, row.name, row.retries.get(row.attempt.id)) for row in found.rows)
                shown = print_table(attempt_tables.ATTEMPT_COLUMNS, rows, attempt_tables.attempt_cells)
                print_page_note(page, shown, found.total, "attempt")
        if not (found.total or as_json):
            none_selected = not selection.empty and not selections.select(session, selection)
            click.echo("nothing selected" if none_selected else "no attempts yet")


@click.command()
@click.argument("attempt", type=click.IntRange(min=1), metavar="ID")
@click.option("-v", "--verbose", is_flag=True, help="Show every file, and every subtask of a long fan-out.")
@limit_options
@json_option
def show(attempt: int, verbose: bool, page: PageRequest | None, as_json: bool) -> None:
    """Show everything about an attempt: files, steps and subtasks, times, cost, and its error. --limit and --offset
    apply to the subtasks of each step.

    \b
    Example:
      rekindle attempts show 12
      rekindle attempts show 12 --limit 50 --offset 100
    """
    with opened() as session:
        if as_json:
            json_output.emit(answers.attempts_show(session, attempt, page or PageRequest()))
            return
        one = attempt_details(session, attempt)
    found, most = one.attempt, None if verbose else FIRST_SUBTASKS
    click.echo(terminal.details(attempt_facts(one)))
    if one.copying:
        done, whole = map(format_size, one.copying)
        click.echo(f"copying the folder of the earlier attempt: {done} of {whole}")
    if one.saved_outputs:
        click.echo(f"its outputs were saved before a rerun overwrote them: {one.saved_outputs}")
    for each in one.partial_outputs:
        click.echo(partial_output(each, one.workdir, full=True))
    if one.environment:
        click.echo(f"it ran with {', '.join(reasons.part_text(*each) for each in one.environment.items())}")
    sections = [
        "\n".join(_files(one.files, most)) if one.files.inputs or one.files.outputs else "",
        attempt_tables.steps_table(found.steps) if found.steps else "",
        _actions(found, one.in_force) if any(step.action for step in found.steps) else "",
        *(subtasks_table(step, several, page or PageRequest(most)) for step, several in one.subtasks.items()),
        attempt_tables.failure_lines(found) if found.cause is not None else "",
    ]
    for section in filter(None, sections):
        click.echo(f"\n{section}")
    if found.pruned_by is None and found.completed_by is None:
        click.echo(f"\n`rekindle logs {found.job} --attempt {found.number}` prints what it printed")


def _actions(one: Attempt, in_force: ActionSet | None) -> str:
    """Return the dynamic actions of the attempt, and whether they are in force."""
    lines = [f"  {step.name}: {mask_json_text(step.action)}" for step in one.steps if step.action]
    head = "actions, in force:" if in_force else "actions, not in force:"
    added = (
        [f"  added: {', '.join(words.one_line(name) for name in in_force.names)}"]
        if in_force and in_force.added
        else []
    )
    return "\n".join([head, *lines, *added])


def _files(prints: FileFingerprints, most: int | None) -> Iterator[str]:
    """Yield the inputs and outputs of the attempt with the beginnings of their digests."""
    every = [("input", one) for one in prints.inputs] + [("output", one) for one in prints.outputs]
    for kind, one in every[:most]:
        name = reasons.named_file(one.name) if one.implicit else f"{kind} {words.one_line(one.name)}"
        digest = reasons.short_digest(one.digest) if one.digest else "was not there"
        content = digest if one.compared else "written by the attempt, not compared"
        yield words.cut(f"{name}: {content}", terminal_columns())
    if most is not None and len(every) > most:
        yield f"… and {words.plural(len(every) - most, 'more file')} (-v shows all)"


@click.command()
@click.argument("a", type=click.IntRange(min=1), metavar="A")
@click.argument("b", type=click.IntRange(min=1), metavar="B")
@click.option("-v", "--verbose", is_flag=True, help="Show every path of a result and every line of an output.")
@json_option
def diff(a: int, b: int, verbose: bool, as_json: bool) -> None:
    """Show what differs between two attempts, A and B (ids), of one job or of two.

    First side by side: parameters, definition, modifications, resources, code, environment, inputs, files that
    commands name, results of needed jobs, host, ends of the attempts and their steps, times, results, outputs. Then
    outputs line by line, if they are small texts and exist or were saved (`rerun --keep-outputs`). Last the first
    differing line of each log.

    \b
    Example:
      rekindle attempts diff 12 15
      rekindle attempts diff 12 15 --json
    """
    with opened() as session:
        with reading_progress() as on_read:
            found = compare_attempts(session, a, b, on_read)
        names = {row.job.id: row.job.name for row in job_queries.jobs(session, sorted({found.a.job, found.b.job}))}
    if as_json:
        json_output.emit(job_documents.attempt_comparison(found))
        return
    for attempt in (found.a, found.b):
        click.echo(_headline(attempt, names[attempt.job]))
    if not (found.fields or found.outputs or found.logs):
        click.echo("nothing differs")
    _draw(found, None if verbose else _FIRST)


def _headline(one: Attempt, name: str) -> str:
    return _cut(f"attempt {one.id}: number {one.number} of job {one.job} {words.one_line(name)}")


def _draw(found: AttemptComparison, most: int | None) -> None:
    blocks = [each for each in found.fields if differences.is_block(each)]
    defined = {each.field for each in found.fields}
    rows = [each for each in found.fields if each not in blocks and f"template.{each.field}" not in defined]
    results = [each for each in rows if differences.is_result(each)]
    hidden = set() if most is None else {each.field for each in results[most:]}
    if shown := [each for each in rows if each.field not in hidden]:
        click.echo(_table(found.a.id, found.b.id, shown))
    if hidden:
        click.echo(f"  … and {words.plural(len(hidden), 'more path')} of the results (-v shows all)")
    for each in blocks:
        click.echo(f"\n{_cut(words.one_line(each.field))}:")
        _lines(map(terminal.change_line, reasons.command_diff(each.a, each.b)), most)
    if found.outputs:
        click.echo("\noutputs:")
        for output in found.outputs:
            _draw_output(output, (found.a.id, found.b.id), most)
    if found.logs:
        click.echo("\nlogs part at:")
        for log in found.logs:
            _draw_log(log, (found.a.id, found.b.id))


def _draw_output(one: OutputDiff, ids: tuple[int, int], most: int | None) -> None:
    lost = [f"that of attempt {number} is {why}" for number, why in zip(ids, one.lost, strict=True) if why is not None]
    note = ", ".join(lost) or one.why or ("" if one.lines else "the ends of lines differ")
    click.echo(_cut(f"  {words.one_line(one.name)}{f': {note}' if note else ''}"))
    _lines((_coloured(f"{line[:2]}{words.one_line(line[2:])}") for line in one.lines), most, 4)


def _draw_log(one: LogDivergence, ids: tuple[int, int]) -> None:
    click.echo(f"  {words.one_line(one.step)}, {one.stream}, line {one.line:,}")
    width = max(len(str(number)) for number in ids)
    a, b = (words.one_line(text or "") for text in (one.a, one.b))
    texts = differences.from_difference(a, b, terminal_columns() // 3)
    for number, text, line in zip(ids, texts, (one.a, one.b), strict=True):
        shown = click.style("(it has ended)", dim=True) if line is None else text
        click.echo(_cut(f"    {number:>{width}}: {shown}") if line is not None else f"    {number:>{width}}: {shown}")


def _lines(lines: Iterable[str], most: int | None, indent: int = 2) -> None:
    every = list(lines)
    for line in every[:most]:
        click.echo(" " * indent + line)
    if most is not None and len(every) > most:
        click.echo(" " * indent + f"… and {words.plural(len(every) - most, 'more line')} (-v shows all)")


def _coloured(line: str) -> str:
    cut = words.cut(line, terminal_columns() - 4)
    return click.style(cut, fg="red" if line[:1] == "-" else "green")


def _cut(line: str) -> str:
    return words.cut(line, terminal_columns())


def _table(a: int, b: int, found: Sequence[Difference]) -> str:
    columns = [
        Column("FIELD", cut="middle", keep=True),
        Column(f"ATTEMPT {a}", cut="end"),
        Column(f"ATTEMPT {b}", cut="end"),
    ]
    return terminal.table(
        columns,
        [(differences.field_name(each.field), *differences.values(each, terminal_columns() // 3)) for each in found],
    )
