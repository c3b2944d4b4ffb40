"""`rekindle attempts`: list, show and diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.output import attempt_text, json_output, reasons, terminal
from rekindle.cli.output.attempt_text import FIRST_SUBTASKS, modifications, subtasks_table
from rekindle.cli.output.pages import emit_rows, limit_options, page_options, print_page_note, print_table
from rekindle.cli.output.progress import reading_progress
from rekindle.cli.output.terminal import Column
from rekindle.cli.selection_options import selection_options
from rekindle.cli.sessions import opened
from rekindle.domain.changes.differences import NAMED_PREFIX, Difference
from rekindle.domain.changes.staleness import OPAQUE_PREFIX
from rekindle.domain.texts.display import format_value, mask_json_text
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.engine import dynamic_actions
from rekindle.engine.queries import job_queries, lists, selections
from rekindle.engine.queries.attempt_comparison import compare_attempts
from rekindle.engine.queries.job_queries import workdirs
from rekindle.engine.results import PageRequest
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.domain.actions import ActionSet
    from rekindle.domain.changes.fingerprints import FileFingerprints
    from rekindle.domain.models import Attempt
    from rekindle.domain.rerun.plan import Reason
    from rekindle.engine.results import AttemptComparison, LogDivergence, OutputDiff

_BYTES = ("max_rss_bytes", "modified.memory", "template.resources.memory", "resources.memory")
_SECONDS = ("seconds", "cpu_seconds", "modified.time", "template.resources.time", "resources.time")
_DIGESTS = ("code.", "inputs.", "outputs.", "needs.", NAMED_PREFIX)
_PARTS = ("environment.interpreter.", "environment.distribution.", "environment.program.")
_COMMAND = lazy_regex(r"template\.steps\..+\.run")
_LEAD = 8  # columns that are kept of the common beginning of two long values
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
@json_option
def list_attempts(flags: SelectionFlags, live: bool, page: PageRequest, as_json: bool) -> None:
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
                parts = ((row.attempt, row.workdir, row.subtasks, row.retries, row.partial) for row in found.rows)
                emit_rows("attempts", (json_output.attempt(*each) for each in parts))
            elif found.total:
                rows = ((row.attempt, row.name, row.retries.get(row.attempt.id)) for row in found.rows)
                shown = print_table(attempt_text.ATTEMPT_COLUMNS, rows, attempt_text.attempt_cells)
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
        found = job_queries.attempt(session, attempt)
        workdir = workdirs(session, [found])[found.id]
        row = job_queries.jobs(session, [found.job])[0]
        acting = dynamic_actions.in_force(session, [found.job]).get(found.job)
        in_force = acting if acting is not None and acting.attempt == found.id else None
        copying = job_queries.copy_progress(session, found)
        saved = job_queries.existing_saved_outputs(session, found.id)
        prints = job_queries.recorded_files(session, found.id)
        partial = job_queries.partial_outputs(session, [found.id])
        counts, (retries, _) = job_queries.subtask_counts(session, [found]), job_queries.retries(session, [found.job])
        subtasks = job_queries.subtasks(session, found) if counts else {}
        steps = job_queries.step_names(session, found) if counts else ()
        environment, allowed = job_queries.environment(session, found), job_queries.leaves_running(session, found)
    if as_json:
        document = json_output.attempt(found, workdir, counts, retries, partial)
        names = list(in_force.names) if in_force else []
        progress = {"done": copying[0], "whole": copying[1]} if copying else None
        more = {"actions_in_force": in_force is not None, "added": names, "copying": progress, "saved_outputs": saved}
        more |= {"inputs": [*map(json_output.file, prints.inputs)], "outputs": [*map(json_output.file, prints.outputs)]}
        rows = page or PageRequest()
        listed = [
            json_output.subtask(steps[step], one) for step, several in subtasks.items() for one in rows.of(several)
        ]
        parts = [{"part": part.kind, "name": part.name, "value": value} for part, value in environment.items()]
        json_output.emit({**document, **more, "subtasks": listed, "environment": parts})
        return
    click.echo(_facts(found, row.job.name, row.workflow, workdir, retries.get(found.id), allowed=allowed))
    if copying:
        click.echo(f"copying the folder of the earlier attempt: {format_size(copying[0])} of {format_size(copying[1])}")
    if saved:
        click.echo(f"its outputs were saved before a rerun overwrote them: {saved}")
    for one in partial.get(found.id, ()):
        click.echo(attempt_text.partial_output(one, workdir, full=True))
    if environment:
        click.echo(f"it ran with {', '.join(reasons.part_text(*each) for each in environment.items())}")
    rows = page or PageRequest(None if verbose else FIRST_SUBTASKS)
    sections = [
        "\n".join(_files(prints, None if verbose else FIRST_SUBTASKS)) if prints.inputs or prints.outputs else "",
        attempt_text.steps_table(found.steps) if found.steps else "",
        _actions(found, in_force) if any(step.action for step in found.steps) else "",
        *(subtasks_table(steps[step], several, rows) for step, several in subtasks.items()),
        attempt_text.failure_lines(found) if found.cause is not None else "",
    ]
    for section in filter(None, sections):
        click.echo(f"\n{section}")
    click.echo(f"\n`rekindle logs {found.job} --attempt {found.number}` prints what it printed")


def _actions(one: Attempt, in_force: ActionSet | None) -> str:
    """Return the dynamic actions of the attempt, and whether they are in force."""
    lines = [f"  {step.name}: {mask_json_text(step.action)}" for step in one.steps if step.action]
    head = "actions, in force:" if in_force else "actions, not in force:"
    added = (
        [f"  added: {', '.join(terminal.one_line(name) for name in in_force.names)}"]
        if in_force and in_force.added
        else []
    )
    return "\n".join([head, *lines, *added])


def _files(prints: FileFingerprints, most: int | None) -> Iterator[str]:
    """Yield the inputs and outputs of the attempt with the beginnings of their digests."""
    every = [("input", one) for one in prints.inputs] + [("output", one) for one in prints.outputs]
    for kind, one in every[:most]:
        name = reasons.named_file(one.name) if one.implicit else f"{kind} {terminal.one_line(one.name)}"
        digest = reasons.short_digest(one.digest) if one.digest else "was not there"
        content = digest if one.compared else "written by the attempt, not compared"
        yield terminal.cut(f"{name}: {content}", terminal_columns())
    if most is not None and len(every) > most:
        yield f"… and {terminal.plural(len(every) - most, 'more file')} (-v shows all)"


def _pinned(one: Attempt) -> str:
    return f"pinned: that of attempt {one.pinned_to}" if one.pinned_to is not None else ""


def _facts(one: Attempt, name: str, workflow: str, workdir: str | None, retry: Reason | None, *, allowed: bool) -> str:
    where = f"{one.host} (pid {one.pid})" if one.host and one.pid else one.host or ""
    return terminal.details(
        [
            ("attempt", f"{one.id}, number {one.number} of job {one.job} {terminal.one_line(name)}"),
            ("workflow", f"{one.workflow} {workflow}, revision {one.revision}"),
            ("definition", _pinned(one)),
            ("retry", reasons.short(retry) if retry is not None else ""),
            ("state", one.state.label),
            ("cause", attempt_text.full_cause(one)),
            ("signature", one.signature or ""),
            ("verdict", attempt_text.verdict(one.verdict)),
            ("partial", "it continues without the failed subtasks" if one.partial else ""),
            ("archived", f"by rerun {one.archived_by}" if one.archived_by is not None else ""),
            ("builds on", attempt_text.builds_on(one) if one.builds_on else ""),
            ("modified", modifications(one.overrides)),
            ("started", terminal.full_time(one.started)),
            ("ended", terminal.full_time(one.ended)),
            ("time", terminal.duration(terminal.seconds(one.started, one.ended))),
            ("cpu", terminal.duration(one.cpu_seconds)),
            ("memory", format_size(one.max_rss_bytes) if one.max_rss_bytes is not None else ""),
            ("on", where),
            ("in", workdir or ""),
            ("own folder", one.folder or ""),
            ("left running", attempt_text.left_running(one, allowed=allowed)),
            ("result", terminal.cut(terminal.one_line(mask_json_text(one.result) if one.result else ""), 200)),
        ]
    )


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
        json_output.emit(_document(found))
        return
    for attempt in (found.a, found.b):
        click.echo(_headline(attempt, names[attempt.job]))
    if not (found.fields or found.outputs or found.logs):
        click.echo("nothing differs")
    _draw(found, None if verbose else _FIRST)


def _document(found: AttemptComparison) -> dict[str, Any]:
    return {
        "a": found.a.id,
        "b": found.b.id,
        "differences": [
            {"field": each.field, "a": each.a, "b": each.b}
            | ({"implicit": True} if each.field.startswith(NAMED_PREFIX) else {})
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
    return _cut(f"attempt {one.id}: number {one.number} of job {one.job} {terminal.one_line(name)}")


def _draw(found: AttemptComparison, most: int | None) -> None:
    blocks = [each for each in found.fields if _is_block(each)]
    defined = {each.field for each in found.fields}
    rows = [each for each in found.fields if each not in blocks and f"template.{each.field}" not in defined]
    results = [each for each in rows if _is_result(each)]
    hidden = set() if most is None else {each.field for each in results[most:]}
    if shown := [each for each in rows if each.field not in hidden]:
        click.echo(_table(found.a.id, found.b.id, shown))
    if hidden:
        click.echo(f"  … and {terminal.plural(len(hidden), 'more path')} of the results (-v shows all)")
    for each in blocks:
        click.echo(f"\n{_cut(terminal.one_line(each.field))}:")
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
    """Return whether a command is printed as a diff: it has several lines, or is a list of words."""
    if not _COMMAND.fullmatch(one.field) or one.a is None or one.b is None:
        return False
    return any(isinstance(value, list) or "\n" in value for value in (one.a, one.b))


def _is_result(one: Difference) -> bool:
    return one.field.startswith(("result.", "result["))


def _draw_output(one: OutputDiff, ids: tuple[int, int], most: int | None) -> None:
    lost = [f"that of attempt {number} is {why}" for number, why in zip(ids, one.lost, strict=True) if why is not None]
    note = ", ".join(lost) or one.why or ("" if one.lines else "the ends of lines differ")
    click.echo(_cut(f"  {terminal.one_line(one.name)}{f': {note}' if note else ''}"))
    _lines((_coloured(f"{line[:2]}{terminal.one_line(line[2:])}") for line in one.lines), most, 4)


def _draw_log(one: LogDivergence, ids: tuple[int, int]) -> None:
    click.echo(f"  {terminal.one_line(one.step)}, {one.stream}, line {one.line:,}")
    width = max(len(str(number)) for number in ids)
    texts = _from_difference(
        "" if one.a is None else terminal.one_line(one.a), "" if one.b is None else terminal.one_line(one.b)
    )
    for number, text, line in zip(ids, texts, (one.a, one.b), strict=True):
        shown = click.style("(it has ended)", dim=True) if line is None else text
        click.echo(_cut(f"    {number:>{width}}: {shown}") if line is not None else f"    {number:>{width}}: {shown}")


def _lines(lines: Iterable[str], most: int | None, indent: int = 2) -> None:
    every = list(lines)
    for line in every[:most]:
        click.echo(" " * indent + line)
    if most is not None and len(every) > most:
        click.echo(" " * indent + f"… and {terminal.plural(len(every) - most, 'more line')} (-v shows all)")


def _coloured(line: str) -> str:
    cut = terminal.cut(line, terminal_columns() - 4)
    return click.style(cut, fg="red" if line[:1] == "-" else "green")


def _cut(line: str) -> str:
    return terminal.cut(line, terminal_columns())


def _table(a: int, b: int, found: Sequence[Difference]) -> str:
    columns = [
        Column("FIELD", cut="middle"),
        Column(f"ATTEMPT {a}", cut="end"),
        Column(f"ATTEMPT {b}", cut="end"),
    ]
    return terminal.table(columns, [(_field(each.field), *_values(each)) for each in found])


def _field(field: str) -> str:
    return reasons.named_file(field.removeprefix(NAMED_PREFIX)) if field.startswith(NAMED_PREFIX) else field


def _values(one: Difference) -> tuple[str, str]:
    """Return both values as text. Only digests of outer environment variables are stored."""
    if one.field.startswith("environment.") and not one.field.startswith(_PARTS):
        return ("set" if one.a else "not set", "not set" if not one.b else "differs" if one.a else "set")
    return _from_difference(terminal.one_line(_value(one.field, one.a)), terminal.one_line(_value(one.field, one.b)))


def _from_difference(a: str, b: str) -> tuple[str, str]:
    """Return two texts. Long ones begin shortly before their first difference, which a cut at their ends would hide."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    if alike <= _LEAD + 1 or max(len(a), len(b)) <= terminal_columns() // 3:
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
        return terminal.duration(value)
    if field == "start_step":
        return str(value + 1)  # steps are numbered from 1 in all commands
    return format_value(value)


def _digest(digest: str) -> str:
    if digest.startswith(OPAQUE_PREFIX):
        return f"that of attempt {digest.removeprefix(OPAQUE_PREFIX)}"
    return reasons.short_digest(digest) if digest else "not there"
