"""`rekindle lineage`: where a file comes from, and what used it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.sessions import reconciled
from rekindle.presentation import job_documents, reasons, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from rekindle.engine.queries.file_uses import FileUse
    from rekindle.engine.queries.lineage import Lineage

_FIRST = 10
"""Files and attempts of a list that are printed without -v."""


@click.command()
@click.argument("file", type=click.Path())
@click.option("-v", "--verbose", is_flag=True, help="List every file, attempt and job.")
@json_option
def lineage(file: str, verbose: bool, as_json: bool) -> None:
    """Show where a file comes from, and what used it.

    The attempt that made FILE is shown with what it read, and whether its job is current. A file is known by its
    content, also after it was renamed or copied. The jobs that depend on it are counted: they are wrong if it is.

    \b
    Example:
      rekindle lineage build/data.npz
      rekindle rerun --from-file data/raw.csv
      rekindle rerun --tainted-by 17
    """
    from rekindle.engine.queries.lineage import lineage

    path = os.path.abspath(file)  # noqa: PTH100  resolve() would follow links, and names are recorded as they are given
    with reconciled(looks=True) as session, reading_progress() as on_read:
        found = lineage(session, path, on_read)
    if as_json:
        json_output.emit(job_documents.lineage(found))
        return
    for line in _lines(found, None if verbose else _FIRST):
        click.echo(terminal.cut_painted(line, terminal_columns()))


_ORIGINS = {
    "made": "as the attempt left it",
    "copied": "a copy: the attempt left this content at {path}",
    "changed": "changed since the attempt left it",
    "gone": "does not exist any more",
    "source": "no job of this store made it",
}


def _lines(found: Lineage, most: int | None) -> Iterator[str]:
    maker = found.maker
    digest = f"  {reasons.short_digest(found.digest)}" if found.digest else ""
    yield f"{_path(found.path)}{digest}  {_origin(found)}"
    if maker is not None:
        yield f"made by   {_attempt(maker)}"
        yield from _current(found, maker)
    sources = [
        f"{_path(one.content.path)}  {reasons.short_digest(one.content.digest)}"
        f"  {f'attempt {one.maker}' if one.maker is not None else 'no job made it'}"
        for one in found.sources
    ]
    yield from _listed("made from", sources, most, "file")
    users = [f"{_attempt(one)}{_difference(one, found)}" for one in found.uses.used]
    yield from _listed("used by", users, most, "attempt")
    if found.uses.more:
        yield "          and older attempts"
    if found.tainted:
        count = words.plural(len(found.tainted), "job")
        yield f"{count} below depend{'s' if len(found.tainted) == 1 else ''} on this content"
        names = [f"{job.id} {words.one_line(job.name)}" for job in found.tainted]
        if most is None:
            yield from (f"          {name}" for name in names)
        if maker is not None and found.origin != "changed":
            yield f"again, if it is wrong: rekindle rerun --tainted-by {maker.attempt.id}"
        else:
            yield f"again, if it is wrong: rekindle rerun --from-file {shlex.quote(_path(found.path))}"


def _origin(found: Lineage) -> str:
    elsewhere = _path(found.maker.content.path) if found.maker is not None else ""
    return _ORIGINS[found.origin].format(path=elsewhere)


def _current(found: Lineage, maker: FileUse) -> Iterator[str]:
    state = found.maker_state
    if state is None:
        live = maker.job.attempt
        yield f"current   no: attempt {live} of the job is live" if live else "current   no: the job has been reset"
    elif state.word == "current":
        yield "current   yes: the job would make the same again"
    else:
        yield f"current   {'no: ' if state.stale else ''}{state.word}"
        for reason in state.reasons:
            yield f"          {reasons.short(reason)}"


def _listed(title: str, texts: list[str], most: int | None, thing: str) -> Iterator[str]:
    for at, text in enumerate(texts[:most]):
        yield f"{title if at == 0 else '':10}{text}"
    if most is not None and len(texts) > most:
        yield f"{'':10}… and {words.plural(len(texts) - most, f'more {thing}')} (-v lists them)"


def _attempt(one: FileUse) -> str:
    job, attempt = one.job, one.attempt
    archived = "" if job.attempt == attempt.id else ", archived"
    archived += ", completed by hand" if attempt.completed_by is not None else ""
    return f"attempt {attempt.id} of {words.one_line(job.name)}, workflow {job.workflow}{archived}"


def _difference(one: FileUse, found: Lineage) -> str:
    digest = one.digest_of(found.path)
    within = f", as part of {_path(one.content.path)}" if one.content.path != found.path else ""
    return within + (", with other content" if digest and found.digest and digest != found.digest else "")


def _path(path: str) -> str:
    """Return a path as it is typed here: relative if it lies below the working directory."""
    here = str(Path.cwd())
    return words.one_line(path.removeprefix(f"{here}/"))
