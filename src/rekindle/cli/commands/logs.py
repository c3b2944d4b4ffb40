"""`rekindle logs`: print or follow the output of a job."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.cli.sessions import opened
from rekindle.domain.errors import NotFound, Refused, UsageError
from rekindle.domain.selection import Selection
from rekindle.domain.subtasks import parse_subtasks
from rekindle.domain.texts.substitution import format_word
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.queries import logs as engine
from rekindle.engine.results import LogFile
from rekindle.engine.running.reconcile import DeadRunnerWatch
from rekindle.files.kept_logs import log_size, open_log_file
from rekindle.files.store_files import NotARegularFile
from rekindle.presentation import attempts, words
from rekindle.query.job_keys import parse_job_words

if TYPE_CHECKING:
    from rekindle.domain.subtasks import SubtaskChoice
    from rekindle.engine.session import Session

CHUNK = 1 << 16
MOST_ITEMS = 20
"""Items of a long fan-out that are printed, failed ones first."""
_NAMED = 8


@click.command()
@click.argument("job", metavar="JOB")
@click.option("-w", "--workflow", metavar="ID|NAME", help="Select the job of this workflow, if several have the name.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Print the Nth attempt of the job. [default: the newest]"
)
@click.option("--step", metavar="NAME", help="Print this step only.")
@click.option(
    "--subtask",
    "--subtasks",
    metavar="K|all|failed",
    help="Print only these items of a fan-out: 3, 0,3-5, all or failed.",
)
@click.option("--stderr", "only_stderr", is_flag=True, help="Print stderr only.")
@click.option("-f", "--follow", is_flag=True, help="Print new output until the attempt ends (stdout, or --stderr).")
@json_option
def logs(
    job: str,
    workflow: str | None,
    attempt: int | None,
    step: str | None,
    subtask: str | None,
    only_stderr: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Print what a job printed: stdout and stderr of every step, and of the items of a fan-out.

    Of a fan-out with many items 20 are printed, failed ones first; `--subtask all` prints all.

    \b
    Example:
      rekindle logs 'train[alpha=0.1,seed=0]'
      rekindle logs 7 --attempt 1 --step metrics --stderr
      rekindle logs 7 --step process --subtask 3
      rekindle logs 7 --subtask failed
      rekindle logs 7 -f
    """
    if follow and as_json:
        raise UsageError(
            "--follow and --json exclude each other: --json prints one document", hint="leave one of them out"
        )
    which = None if subtask is None else parse_subtasks(subtask, "--subtask")
    with opened() as session:
        number = _one_job(session, job, workflow)
        shown_attempt = engine.attempt_of(session, number, attempt)
        if shown_attempt.reused_from and not as_json:
            click.echo(f"{attempts.reused(shown_attempt)}: its logs", err=True)
        if which is not None:
            step = step or _fan_out(session, number, attempt)
        if follow:
            stream: Literal["stdout", "stderr"] = "stderr" if only_stderr else "stdout"
            _follow(engine.follow(session, number, attempt, step, stream, which, DeadRunnerWatch(session).look))
            return
        files = engine.log_files(session, number, attempt, step) if which is None else []
        items = engine.item_log_files(session, number, attempt, step, which or "all")
        allowed = job_queries.leaves_running(session, shown_attempt)
    wanted = [one for one in (*files, *items) if not only_stderr or one.stream == "stderr"]
    if as_json:
        shown = [one for one in wanted if one.subtask is None or isinstance(which, tuple) or log_size(one.path)]
        document = {"job": number, "logs": [_document(one) for one in shown]}
        json_output.emit({**document, "left_running": msgspec.to_builtins(shown_attempt.left_running)})
        return
    printed = [one for one in wanted if log_size(one.path)]
    if not printed:
        click.echo(_nothing(which, bool(items), only_stderr), err=True)
    shown, notes = (printed, []) if which is not None else _few(printed, job)
    _print(shown, alone=isinstance(which, tuple) and len(which) == 1)
    for note in filter(None, [*notes, attempts.left_running(shown_attempt, allowed=allowed, hint=True)]):
        click.echo(note, err=True)


def _one_job(session: Session, job: str, workflow: str | None) -> int:
    unnoted = msgspec.structs.replace(session, note=None)  # the refusal says how many jobs the word means
    ids = selections.select(unnoted, Selection(workflow=workflow, jobs=parse_job_words([job])))
    if len(ids) != 1:
        names = [words.one_line(row.job.name) for row in job_queries.jobs(session, ids[:_NAMED])]
        listed = f": {', '.join(names)}" + (", …" if len(ids) > _NAMED else "") if names else ""
        hint = (
            f"logs are printed for one job: `rekindle logs {ids[0]}`" if ids else "`rekindle jobs list` names the jobs"
        )
        raise Refused(f"{job} means {words.plural(len(ids), 'job')}{listed}", hint=hint)
    return ids[0]


def _fan_out(session: Session, job: int, attempt: int | None) -> str:
    """Return the only fan-out step of an attempt, the default of `--step` for `--subtask`."""
    names = engine.fan_outs(session, job, attempt)
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound("the job has no fan-out step, and no subtasks", hint="leave out --subtask")
    raise UsageError(f"the job has {len(names)} fan-out steps: {', '.join(names)}", hint=f"add --step {names[0]}")


def _few(files: list[LogFile], job: str) -> tuple[list[LogFile], list[str]]:
    """Return the files without most items of a long fan-out, and notes with the command that prints all."""
    kept, notes = [], []
    for step in dict.fromkeys(one.step for one in files):
        of_step = [one for one in files if one.step == step]
        items = {one.subtask.index: one.subtask for one in of_step if one.subtask is not None}
        first = sorted(items.values(), key=lambda one: (one.cause is None, one.index))[:MOST_ITEMS]
        shown = {one.index for one in first}
        kept += [one for one in of_step if one.subtask is None or one.subtask.index in shown]
        if len(shown) < len(items):
            failed = sum(one.cause is not None for one in items.values())
            command = f"rekindle logs {shlex.quote(job)} --step {shlex.quote(step)} --subtask all"
            count = f"{len(shown):,} of {len(items):,} items of {step}" + (
                f", {failed:,} of them failed" if failed else ""
            )
            notes.append(f"shown: {count}; `{command}` prints all")
    return kept, notes


def _nothing(which: SubtaskChoice | None, any_item: bool, only_stderr: bool) -> str:
    if which == "failed" and not any_item:
        return "no item has failed"
    return "nothing was printed to stderr" if only_stderr else "nothing was printed"


def _heading(file: LogFile) -> str:
    """Return the heading of a log: `==> process 3 (slices/03.png) stderr, failed <==`."""
    if file.subtask is None:
        return f"==> {file.step} {file.stream} <=="
    item = words.cut(words.one_line(format_word(json.loads(file.subtask.item))), 60)
    ending = f", {file.subtask.state.label}" if file.subtask.cause is not None else ""
    return f"==> {file.step} {file.subtask.index} ({item}) {file.stream}{ending} <=="


def _print(files: list[LogFile], *, alone: bool) -> None:
    """Print logs. Headings are left out for a single log of a step, and for a single item given by number (`alone`)."""
    headed = len(files) > 1 or (not alone and any(one.subtask is not None for one in files))
    for at, one in enumerate(files):
        if headed:
            click.echo(("\n" if at else "") + click.style(_heading(one), dim=True))
        _copy(_pieces(one))


def _follow(pieces: Iterable[bytes | LogFile]) -> None:
    first = True
    for piece in pieces:
        if isinstance(piece, LogFile):
            click.echo(("" if first else "\n") + click.style(_heading(piece), dim=True))
        else:
            _copy([piece])
        first = False


def _pieces(one: LogFile) -> Iterable[bytes]:
    try:
        with open_log_file(one.path) as log:
            while piece := log.read(CHUNK):
                yield piece
    except FileNotFoundError:
        return  # nothing was printed
    except NotARegularFile as error:  # another file replaced the log after the step had ended
        click.echo(f"rekindle: the log {one.path} {error.strerror}", err=True)


def _copy(pieces: Iterable[bytes]) -> None:
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _document(one: LogFile) -> dict[str, object]:
    text = b"".join(_pieces(one)).decode(errors="surrogateescape")
    item = one.subtask
    return {
        "attempt": one.attempt,
        "step": one.step,
        "stream": one.stream,
        "path": one.path,
        "text": text,
        "subtask": None if item is None else item.index,
        "item": None if item is None else json.loads(item.item),
        "state": None if item is None else item.state.label,
    }
