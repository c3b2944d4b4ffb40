"""`ziggy console start`: a pipeline's spec becomes a new instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.ziggy.options import assigned, check_work, tell_ready, work_now, work_options
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, NotFound, SpecError
from rekindle.domain.models import Workflow
from rekindle.domain.portion import portion
from rekindle.domain.states import State
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.engine.looking import look
from rekindle.engine.submitting.submit import submit

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_LARGEST = 4 << 20
"""Bytes of a file that is looked at for a pipeline's name."""


@click.command()
@click.argument("pipeline", metavar="PIPELINE")
@click.argument("name", required=False, metavar="[NAME")
@click.argument("first", required=False, metavar="[START_NODE")
@click.argument("last", required=False, metavar="[STOP_NODE]]]")
@click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of this instance; repeat for more.")
@work_options
def start(
    pipeline: str,
    name: str | None,
    first: str | None,
    last: str | None,
    param: tuple[str, ...],
    and_work: bool,
    slots: int | None,
) -> int:
    """Start a pipeline as a new instance, and assign NAME to it.

    PIPELINE is a spec file, the name of one in this folder, or that of a pipeline that was started or submitted before.
    NAME is the current time where none is given. From START_NODE to STOP_NODE: what the nodes before have made is
    expected to be there.

    \b
    Example:
      rekindle ziggy console start sample "Test 1"
      rekindle ziggy console start sample "Test 2" permuter flip
      rekindle ziggy console start sample.yaml --param throw_exception_subtask_0=false --work
    """
    check_work(and_work, slots)
    params = assigned("--param", param)
    definition = portion(find_pipeline(pipeline, params), first or None, last or None)
    with opened(create=True) as session:
        click.echo(f'Launching {pipeline}: name="{name or ""}", start="{first or ""}", stop="{last or ""}"...')
        done = submit(session, definition, name=_named(definition, name, session.clock()), new=True)
        click.echo(f"instance {done.workflow}: {done.jobs:,} task{'s' if done.jobs != 1 else ''}")
        if and_work:
            return work_now(session, [done.workflow], slots)
        status = look.status(session, str(done.workflow))[0]
        tell_ready(status.counts.get(State.READY, 0), bool(status.runners))
        return 0


def _named(definition: Definition, name: str | None, now: float) -> str:
    """`sample: Test 1`."""
    given = name or datetime.fromtimestamp(now).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if not given.isprintable() or not given.strip():
        raise BadValue(f"{given!r:.60} cannot be an instance's name", hint="one line")
    return f"{definition.name}: {given.strip()}"


def find_pipeline(pipeline: str, params: Mapping[str, str]) -> Definition:
    """The definition of a pipeline: of the file of that path, or of the one in this folder that is called so or says
    that it is, or of the file from which a workflow was submitted. NotFound when there is none."""
    from rekindle.spec import load

    path = Path(pipeline)
    for candidate in (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES)):
        if candidate.suffix in SUFFIXES and candidate.is_file():
            return load(candidate, params=params)
    for candidate in _that_mention(pipeline):
        try:
            definition = load(candidate)
        except SpecError:
            continue
        if definition.name == pipeline:
            return load(candidate, params=params)
    known = _known()
    for one in reversed(known):
        if one.source is not None and pipeline in (one.name, one.name.partition(": ")[0]):
            return load(Path(one.source), params=params)
    names = sorted({one.name.partition(": ")[0] for one in known})
    hint = did_you_mean(pipeline, names) or f"a spec file, or {pipeline}.yaml in this folder"
    raise NotFound(f"no pipeline {pipeline!r}", hint=hint)


def _that_mention(name: str) -> Iterator[Path]:
    """The files of this folder that may be a pipeline's spec and that hold its name."""
    for path in sorted(Path().iterdir()):
        if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size < _LARGEST:
            try:
                found = name.encode() in path.read_bytes()
            except OSError:
                continue
            if found:
                yield path


def _known() -> list[Workflow]:
    """The workflows of the store, oldest first; none where there is no store yet."""
    try:
        with opened() as session:
            return look.workflows(session, archived=True)
    except NotFound:
        return []
