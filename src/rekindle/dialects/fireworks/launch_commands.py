"""`rekindle rlaunch` and `rekindle mlaunch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from rekindle.dialects.command_session import open_store
from rekindle.dialects.fireworks.fw_states import fw_state
from rekindle.dialects.fireworks.launch_output import LaunchOutput
from rekindle.dialects.fireworks.offline import offline_folders, printed_output
from rekindle.dialects.fireworks.rocket_launcher import (
    FWORKER_FILE,
    FWorker,
    LaunchResult,
    RapidfireOptions,
    launch_many,
    launch_offline,
    launch_one,
    read_fworker,
)
from rekindle.dialects.original_commands import OriginalGroup
from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.engine.queries import job_queries
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])


def version_option(command: str) -> Callable[[Command], Command]:
    """Return the option `-v`, which prints the version and ends the command."""

    def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from rekindle import __version__

            click.echo(f"{command} of rekindle {__version__}")
            ctx.exit()

    return click.option(
        "-v",
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=print_version,
        help="Print the version.",
    )


INTERRUPTED = 1
"""FireWorks' exit code after an interruption. Otherwise it is 0, whatever became of the launches."""

_RAPIDFIRE_OPTIONS = (
    click.option("--nlaunches", default="0", metavar="N", help='How many; "infinite" waits for more. [default: all]'),
    click.option("--timeout", type=click.IntRange(min=0), metavar="S", help="Stop launching after this many seconds."),
    click.option(
        "--max_loops",
        type=int,
        default=-1,
        metavar="N",
        help="How often to look for ready fireworks. [default: as needed]",
    ),
    click.option("--sleep", type=click.IntRange(min=0), metavar="S", help="Seconds between looks. [default: 60]"),
    click.option("--local_redirect", is_flag=True, help="Also write task output to FW_job.out and FW_job.error."),
)


class LaunchOptions(msgspec.Struct, frozen=True):
    """The options before the subcommand."""

    fworker: FWorker
    level: str


@click.group(cls=OriginalGroup, context_settings={"help_option_names": ["-h", "--help"]})
@version_option("rlaunch")
@click.option("-l", "--launchpad_file", type=click.Path(), help="Accepted and ignored: the store is the launchpad.")
@click.option("-w", "--fworker_file", type=click.Path(), help="Describes this machine: name, category, query, env.")
@click.option("-c", "--config_dir", type=click.Path(), default=".", help=f"The folder of {FWORKER_FILE}, without -w.")
@click.option("--loglvl", default="INFO", metavar="LEVEL", help="Which messages are printed: DEBUG, INFO, … CRITICAL.")
@click.option("-s", "--silencer", is_flag=True, help="Print no messages.")
@click.pass_context
def rlaunch(
    ctx: click.Context,
    launchpad_file: str | None,
    fworker_file: str | None,
    config_dir: str,
    loglvl: str,
    silencer: bool,
) -> None:
    """Speak FireWorks: launch fireworks. Other jobs of the store do not run.

    A launch that fails is FIZZLED. rlaunch still exits 0, as FireWorks does.

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
    found = Path(config_dir, FWORKER_FILE)
    described = Path(fworker_file) if fworker_file else found if found.is_file() else None
    fworker = FWorker() if described is None else read_fworker(described)
    ctx.obj = LaunchOptions(fworker, "CRITICAL" if silencer else loglvl)


@rlaunch.command()
@click.option("-f", "--fw_id", type=int, metavar="FW_ID", help="Launch this firework, whatever the fworker selects.")
@click.option("--offline", is_flag=True, help="Run the launch that is set up in this folder, without the store.")
@click.option("--pdb", is_flag=True, help="Not supported: tasks run in processes of their own.")
@click.pass_obj
@outlives_reader
def singleshot(launcher: LaunchOptions, /, fw_id: int | None, offline: bool, pdb: bool) -> int:
    """Launch one firework, in this folder.

    With --offline it is the one that `lpad reserve` has set up in this folder. `lpad recover_offline` records its end.

    \b
    Example:
      rekindle rlaunch singleshot
      rekindle rlaunch singleshot -f 3
      rekindle rlaunch singleshot --offline
    """
    if pdb:
        raise Refused(
            "--pdb: tasks run in processes of their own, without a terminal",
            hint="the traceback is kept: `lpad get_fws -i FW_ID -d all`",
        )
    if offline:
        return _launch_offline(launcher, Path.cwd())
    with open_store() as session:
        done = launch_one(session, launcher.fworker, Path.cwd(), fw_id, LaunchOutput(launcher.level))
        _report_none_ready(session, launcher, done, fw_id)
    return _exit_code(done)


def _launch_offline(launcher: LaunchOptions, directory: Path) -> int:
    output = LaunchOutput(launcher.level)
    output.log(f"Launching Rocket in directory: {directory}")
    done = launch_offline(launcher.fworker, directory)
    click.echo(printed_output(directory, "out"), nl=False)
    click.echo(printed_output(directory, "err"), nl=False, err=True)
    if done.ended is not None and done.ended.failure is not None:
        click.echo(done.ended.failure.traceback or done.ended.failure.message, err=True)
    output.log("Rocket finished")
    return INTERRUPTED if done.interrupted_by is not None else 0


def _rapidfire_options(command: Any) -> Any:
    for option in reversed(_RAPIDFIRE_OPTIONS):
        command = option(command)
    return outlives_reader(command)


@rlaunch.command()
@_rapidfire_options
@click.option("--offline", is_flag=True, help="Run the launches that are set up in this folder and those below it.")
@click.pass_obj
def rapidfire(launcher: LaunchOptions, /, local_redirect: bool, offline: bool, **options: Any) -> int:
    """Launch fireworks until none is left, each in a new folder launcher_… in the working directory.

    With --offline run the launches that are set up in the folders below this one and have not run, without the store.

    \b
    Example:
      rekindle rlaunch rapidfire
      rekindle rlaunch rapidfire --nlaunches infinite --max_loops 100 --sleep 30
    """
    how = _rapidfire_settings(1, **options)
    if not offline:
        return _rapidfire(launcher, how, local_redirect)
    for directory in offline_folders(Path.cwd())[: how.most]:
        code = _launch_offline(launcher, directory)
        if code:
            return code
    return 0


@rlaunch.command()
@click.argument("num_jobs", type=click.IntRange(min=1))
@_rapidfire_options
@click.option("--nodefile", help="Accepted and ignored: tasks do not see the nodes.")
@click.option("--ppn", type=int, default=1, help="Accepted and ignored.")
@click.option("--exclude_current_node", is_flag=True, help="Accepted and ignored.")
@click.pass_obj
def multi(
    launcher: LaunchOptions,
    /,
    num_jobs: int,
    local_redirect: bool,
    nodefile: str | None,  # noqa: ARG001
    ppn: int,  # noqa: ARG001
    exclude_current_node: bool,  # noqa: ARG001
    **options: Any,
) -> int:
    """Run rapidfire with NUM_JOBS fireworks at once; --nlaunches is multiplied by NUM_JOBS.

    \b
    Example:
      rekindle rlaunch multi 4
    """
    return _rapidfire(launcher, _rapidfire_settings(num_jobs, **options), local_redirect)


def _rapidfire(launcher: LaunchOptions, how: RapidfireOptions, local_redirect: bool) -> int:
    output = LaunchOutput(launcher.level, local_redirect=local_redirect)
    with open_store() as session:
        done = launch_many(session, launcher.fworker, Path.cwd(), how, output)
        _report_none_ready(session, launcher, done, None)
    return _exit_code(done)


def _rapidfire_settings(
    parallel: int, nlaunches: str, timeout: int | None, max_loops: int, sleep: int | None
) -> RapidfireOptions:
    try:
        number = -1 if nlaunches == "infinite" else int(nlaunches)
    except ValueError:
        raise BadValue(f"--nlaunches {nlaunches}: not a number", hint='a number, or "infinite"') from None
    how = RapidfireOptions(
        most=number * parallel if number > 0 else None,
        endless=number < 0,
        loops=max_loops if max_loops >= 0 else None,
        timeout=timeout,
        parallel=parallel,
    )
    return how if sleep is None else RapidfireOptions(how.most, how.endless, how.loops, float(sleep), timeout, parallel)


def _report_none_ready(session: Session, launcher: LaunchOptions, done: LaunchResult, firework: int | None) -> None:
    """If nothing was launched, say so, and print the state of a requested firework."""
    if done.launches:
        return
    query = launcher.fworker.filter if firework is None else {"fw_id": firework}
    click.echo(f"No FireWorks are ready to run and match query! {query}")
    if firework is not None:
        [row] = job_queries.jobs(session, [firework])
        click.echo(f"firework {firework} is {fw_state(row.job.state, row.job.held)}", err=True)


def _exit_code(done: LaunchResult) -> int:
    report = done.report
    if report is None:
        return 0
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)
    return INTERRUPTED if report.interrupted else 0


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, params=[*rlaunch.params, *multi.params])
def mlaunch(**values: Any) -> Any:
    """Speak FireWorks: launch several at once, as `rlaunch multi` does.

    \b
    Example:
      rekindle mlaunch 4
    """
    for command in (rlaunch, multi):  # the first sets the options of the second
        assert command.callback is not None
        done = command.callback(**{one.name: values[one.name] for one in command.params if one.name in values})
    return done
