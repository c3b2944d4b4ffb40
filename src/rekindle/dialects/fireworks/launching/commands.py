"""`rekindle rlaunch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rekindle.dialects.fireworks.launching.fworkers import FILE, FWorker, read_fworker
from rekindle.dialects.fireworks.launching.options import version_option
from rekindle.dialects.fireworks.launching.rockets import Launched, Rapidfire, launch_many, launch_one
from rekindle.dialects.fireworks.launching.told import Told, attempts_of, redirect, show_launch
from rekindle.dialects.fireworks.words import fw_state
from rekindle.dialects.opening import opened
from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.streams import outlives_reader

INTERRUPTED = 1
"""FireWorks' exit code when it was interrupted; whatever else becomes of launches, it is 0."""

_SEVERAL = (
    click.option("--nlaunches", default="0", metavar="N", help='So many; "infinite" waits for more. [default: all]'),
    click.option("--timeout", type=click.IntRange(min=0), metavar="S", help="Launch nothing after so many seconds."),
    click.option("--max_loops", type=int, default=-1, metavar="N", help="Look so often. [default: as long as needed]"),
    click.option("--sleep", type=click.IntRange(min=0), metavar="S", help="Seconds between these looks. [default: 60]"),
    click.option("--local_redirect", is_flag=True, help="Put what tasks print into FW_job.out and FW_job.error, too."),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said before the command."""

    fworker: FWorker
    told: Told


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option("rlaunch")
@click.option("-l", "--launchpad_file", type=click.Path(), help="Taken and without effect: the store is the launchpad.")
@click.option("-w", "--fworker_file", type=click.Path(), help="Describes this machine: name, category, query, env.")
@click.option("-c", "--config_dir", type=click.Path(), default=".", help=f"Where {FILE} is, without -w.")
@click.option("--loglvl", default="INFO", metavar="LEVEL", help="What is told: DEBUG, INFO, … CRITICAL.")
@click.option("-s", "--silencer", is_flag=True, help="Tell nothing.")
@click.pass_context
def rlaunch(
    ctx: click.Context,
    launchpad_file: str | None,
    fworker_file: str | None,
    config_dir: str,
    loglvl: str,
    silencer: bool,
) -> None:
    """Speak FireWorks: launch fireworks. Other jobs of the store are left alone.

    A launch that fails is FIZZLED, and no error of rlaunch: it exits 0, as FireWorks' does.

    \b
    Example:
      rekindle rlaunch singleshot
      rekindle rlaunch -w my_fworker.yaml rapidfire --nlaunches 10
      rekindle rlaunch -s rapidfire
    """
    if ctx.resilient_parsing:
        return
    for option, path in (("-l", launchpad_file), ("-w", fworker_file)):
        if path is not None and not Path(path).is_file():
            raise NotFound(f"{option} {path}: there is no such file")
    if not Path(config_dir).is_dir():
        raise NotFound(f"-c {config_dir}: there is no such folder")
    found = Path(config_dir, FILE)
    described = Path(fworker_file) if fworker_file else found if found.is_file() else None
    fworker = FWorker() if described is None else read_fworker(described)
    ctx.obj = Asked(fworker, Told("CRITICAL" if silencer else loglvl))


@rlaunch.command()
@click.option("-f", "--fw_id", type=int, metavar="FW_ID", help="This firework, whatever the fworker launches else.")
@click.option("--offline", is_flag=True, help="Not there: launches always need the store.")
@click.option("--pdb", is_flag=True, help="Not there: tasks run in processes of their own.")
@click.pass_obj
@outlives_reader
def singleshot(asked: Asked, /, fw_id: int | None, offline: bool, pdb: bool) -> int:
    """Launch one firework, in this folder.

    \b
    Example:
      rekindle rlaunch singleshot
      rekindle rlaunch singleshot -f 3
    """
    if offline:
        raise Refused("--offline: launches without a store are not there", hint="leave it out: the store is a file")
    if pdb:
        raise Refused(
            "--pdb: tasks run in processes of their own, without a terminal",
            hint="the traceback is kept: `lpad get_fws -i FW_ID -d all`",
        )
    with opened() as session:
        done = launch_one(session, asked.fworker, Path.cwd(), fw_id, asked.told.launch)
        _tell_none(session, asked, done, fw_id)
        for attempt in attempts_of(session, done.launches):
            show_launch(session, attempt)
    return _ended(asked, done)


def _several(command: Any) -> Any:
    for option in reversed(_SEVERAL):
        command = option(command)
    return outlives_reader(command)


@rlaunch.command()
@_several
@click.pass_obj
def rapidfire(asked: Asked, /, local_redirect: bool, **options: Any) -> int:
    """Launch fireworks until none is left, each in a new folder launcher_… in this one.

    \b
    Example:
      rekindle rlaunch rapidfire
      rekindle rlaunch rapidfire --nlaunches infinite --max_loops 100 --sleep 30
    """
    return _rapidfire(asked, _how(1, **options), local_redirect)


@rlaunch.command()
@click.argument("num_jobs", type=click.IntRange(min=1))
@_several
@click.option("--nodefile", help="Taken and without effect: tasks are not told of nodes.")
@click.option("--ppn", type=int, default=1, help="Taken and without effect.")
@click.option("--exclude_current_node", is_flag=True, help="Taken and without effect.")
@click.pass_obj
def multi(
    asked: Asked,
    /,
    num_jobs: int,
    local_redirect: bool,
    nodefile: str | None,  # noqa: ARG001
    ppn: int,  # noqa: ARG001
    exclude_current_node: bool,  # noqa: ARG001
    **options: Any,
) -> int:
    """The same with NUM_JOBS at once; --nlaunches counts for each of these.

    \b
    Example:
      rekindle rlaunch multi 4
    """
    return _rapidfire(asked, _how(num_jobs, **options), local_redirect)


def _rapidfire(asked: Asked, how: Rapidfire, local_redirect: bool) -> int:
    with opened() as session:
        done = launch_many(session, asked.fworker, Path.cwd(), how, asked.told.launch)
        _tell_none(session, asked, done, None)
        if local_redirect:
            redirect(session, done.launches)
    return _ended(asked, done)


def _how(parallel: int, nlaunches: str, timeout: int | None, max_loops: int, sleep: int | None) -> Rapidfire:
    try:
        number = -1 if nlaunches == "infinite" else int(nlaunches)
    except ValueError:
        raise BadValue(f"--nlaunches {nlaunches}: that is no number", hint='a number, or "infinite"') from None
    how = Rapidfire(
        most=number * parallel if number > 0 else None,
        endless=number < 0,
        loops=max_loops if max_loops >= 0 else None,
        timeout=timeout,
        parallel=parallel,
    )
    return how if sleep is None else Rapidfire(how.most, how.endless, how.loops, float(sleep), timeout, parallel)


def _tell_none(session: Session, asked: Asked, done: Launched, firework: int | None) -> None:
    """Nothing was launched: say so, and of one that was asked for why."""
    if done.launches:
        return
    query = asked.fworker.filter if firework is None else {"fw_id": firework}
    click.echo(f"No FireWorks are ready to run and match query! {query}")
    if firework is not None:
        [row] = look.jobs(session, [firework])
        click.echo(f"firework {firework} is {fw_state(row.job.state, row.job.held)}", err=True)


def _ended(asked: Asked, done: Launched) -> int:
    for _ in done.launches:
        asked.told.info("Rocket finished")
    report = done.report
    if report is None:
        return 0
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)
    return INTERRUPTED if report.interrupted else 0
