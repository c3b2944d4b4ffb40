"""`rekindle logs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import json_option
from rekindle.cli.showing import drawing, shapes
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.selection import Selection
from rekindle.engine.looking import logs as engine
from rekindle.engine.looking import look
from rekindle.engine.results import LogFile
from rekindle.engine.session import Session
from rekindle.files.leaves import NotAFile, open_leaf
from rekindle.query.words import parse_words

CHUNK = 1 << 16


@click.command()
@click.argument("job", metavar="JOB")
@click.option("-w", "--workflow", metavar="ID|NAME", help="The job of this workflow, where several have the name.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="The job's Nth attempt. [default: the newest]")
@click.option("--step", metavar="NAME", help="Only this step.")
@click.option("--subtask", type=click.IntRange(min=0), metavar="K", help="With --step: only this item of a fan-out.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Only what went to stderr.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the attempt ends (stdout, or --stderr).")
@json_option
def logs(
    job: str,
    workflow: str | None,
    attempt: int | None,
    step: str | None,
    subtask: int | None,
    only_stderr: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Print what a job printed: every step's stdout and stderr, byte for byte.

    \b
    Example:
      rekindle logs 'train[alpha=0.1,seed=0]'
      rekindle logs 7 --attempt 1 --step metrics --stderr
      rekindle logs 7 --step process --subtask 3
      rekindle logs 7 -f
    """
    if subtask is not None and (step is None or follow):
        raise UsageError(
            "--subtask is one of a step's, and is not followed", hint="add --step NAME, leave out --follow"
        )
    if follow and as_json:
        raise UsageError("--follow goes on, and --json is one document", hint="leave one of them out")
    with opened() as session:
        number = _one(session, job, workflow)
        if follow:
            stream: Literal["stdout", "stderr"] = "stderr" if only_stderr else "stdout"
            _copy(engine.follow(session, number, attempt, step, stream))
            return
        if subtask is not None and step is not None:
            files = engine.subtask_log_files(session, number, attempt, step, subtask)
        else:
            files = engine.log_files(session, number, attempt, step)
        wanted = [one for one in files if not only_stderr or one.stream == "stderr"]
        if as_json:
            shapes.emit({"job": number, "logs": [_document(one) for one in wanted]})
            return
        _print([one for one in wanted if _size(one)])


def _one(session: Session, job: str, workflow: str | None) -> int:
    ids = look.select(session, Selection(workflow=workflow, jobs=parse_words([job])))
    if len(ids) != 1:
        raise Refused(f"{job} means {drawing.many(len(ids), 'job')}", hint="logs are printed for one at a time")
    return ids[0]


def _print(files: list[LogFile]) -> None:
    if not files:
        click.echo("nothing was printed", err=True)
    for at, one in enumerate(files):
        if len(files) > 1:
            title = f"==> {one.step} {one.stream} <=="
            click.echo(("\n" if at else "") + click.style(title, dim=True))
        _copy(_pieces(one))


def _pieces(one: LogFile) -> Iterable[bytes]:
    try:
        with open_leaf(one.path) as log:
            while piece := log.read(CHUNK):
                yield piece
    except FileNotFoundError:
        return  # nothing was printed
    except NotAFile as error:  # put there after the step had ended
        click.echo(f"rekindle: the log {one.path} {error.strerror}", err=True)


def _copy(pieces: Iterable[bytes]) -> None:
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _size(one: LogFile) -> int:
    try:
        return Path(one.path).lstat().st_size
    except FileNotFoundError:
        return 0


def _document(one: LogFile) -> dict[str, object]:
    text = b"".join(_pieces(one)).decode(errors="surrogateescape")
    return {"attempt": one.attempt, "step": one.step, "stream": one.stream, "path": one.path, "text": text}
