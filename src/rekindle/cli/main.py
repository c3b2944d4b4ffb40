"""The entry: `rekindle`. Whatever goes wrong becomes one line on stderr, what to do next, and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from types import TracebackType

import click

from rekindle.cli.embassies import DIALECTS
from rekindle.cli.lazy import Entry, LazyGroup
from rekindle.domain.errors import RekindleError, SpecError

DEBUG = "REKINDLE_DEBUG"
WRONG_COMMAND_LINE = 64
INTERRUPTED = 130  # 128 + SIGINT, as a shell tells it
READER_GONE = 141  # 128 + SIGPIPE
GARBAGE = 50_000
"""Objects between two looks for garbage in circles. A hundred thousand jobs are a million objects and no circle:
Python's own 700 would spend a quarter of a plan's time on looking at them again and again."""

COMMANDS = {
    "run": Entry("rekindle.cli.commands.run:run", "Submit SPEC and bring its workflow up to date."),
    "submit": Entry("rekindle.cli.commands.submit:submit", "Store SPEC as a workflow, and run nothing."),
    "work": Entry("rekindle.cli.commands.work:work", "Run what is ready until nothing is left to run."),
    "status": Entry("rekindle.cli.commands.status:status", "Show each workflow at a glance."),
    "workflows": Entry(
        "rekindle.cli.commands.workflows:workflows", "List, show, compare, archive and delete workflows."
    ),
    "jobs": Entry("rekindle.cli.commands.jobs:jobs", "List and show jobs."),
    "attempts": Entry(
        "rekindle.cli.commands.attempts:attempts", "List, show and compare attempts: every execution there has been."
    ),
    "logs": Entry("rekindle.cli.commands.logs:logs", "Print what a job printed."),
    "failures": Entry("rekindle.cli.commands.failures:failures", "Group failed attempts by how they failed."),
    "flaky": Entry("rekindle.cli.commands.flaky:flaky", "Show which jobs fail now and then, and how often."),
    "why": Entry("rekindle.cli.commands.why:why", "Tell whether jobs would run again, and why or why not."),
    "rerun": Entry("rekindle.cli.commands.rerun:rerun", "Plan a rerun of a SELECTION, show it, and apply it."),
    "supervise": Entry(
        "rekindle.cli.commands.supervise:supervise", "Run WORKFLOW, and run again what fails, within guards."
    ),
    "restart": Entry("rekindle.cli.commands.restart:restart", "Run again whatever has to, in a whole workflow."),
    "reset": Entry("rekindle.cli.commands.reset:reset", "Archive a SELECTION and hold it until `restart`."),
    "accept": Entry("rekindle.cli.commands.accept:accept", "Let what changed count as the same, for a SELECTION."),
    "apply": Entry("rekindle.cli.commands.apply:apply", "Apply a plan that `rerun --save-plan` saved."),
    "undo": Entry("rekindle.cli.commands.undo:undo", "Take a rerun back."),
    "reruns": Entry("rekindle.cli.commands.reruns:reruns", "List and show the reruns that were applied."),
    "events": Entry("rekindle.cli.commands.events:events", "List what happened in the store."),
    "cancel": Entry("rekindle.cli.commands.control:cancel", "End jobs that run, and keep others from starting."),
    "hold": Entry("rekindle.cli.commands.control:hold", "Keep jobs from starting until they are released."),
    "release": Entry("rekindle.cli.commands.control:release", "Let held jobs start again."),
    "dialects": Entry("rekindle.cli.commands.dialects:dialects", "Speak the commands of other systems."),
    **DIALECTS,
    "import": Entry("rekindle.cli.commands.importing:importing", "Bring in what ran elsewhere, with its history."),
    "completion": Entry("rekindle.cli.commands.completion:completion", "Print the completion script for a shell."),
}


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rekindle import __version__

        click.echo(f"rekindle {__version__}")
        ctx.exit()


@click.group(
    "rekindle",
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--store",
    metavar="URL",
    help="The store: a folder, sqlite:///path, or a URL. [default: $REKINDLE_STORE, else the nearest .rekindle/ at or "
    "above the working directory, else a new one there]",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Print it.")
@click.pass_context
def cli(ctx: click.Context, store: str | None) -> None:  # noqa: ARG001 (opening.py reads it from the context)
    """Run workflows of jobs, and run again exactly what must run again.

    \b
    Example:
      rekindle run sweep.yaml -j 4        run it
      rekindle failures                   see what failed, and why
      rekindle rerun -s failed --work     run again what failed, and what needs it
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's) and return its exit code.

    0 all well, 1 failed or refused, 2 jobs failed, 5 canceled, 6 timed out, 64 the command line is wrong.
    An error nobody foresaw leaves as it is; `sys.excepthook` makes one line of it unless $REKINDLE_DEBUG is set."""
    gc.set_threshold(GARBAGE)
    if not os.environ.get(DEBUG):
        sys.excepthook = _unforeseen
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no UTF-8 gets ? for what it cannot show
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        code = cli.main(args=words, prog_name="rekindle", standalone_mode=False, obj=words)
        sys.stdout.flush()
    except RekindleError as error:
        return _tell(error)
    except click.exceptions.NoArgsIsHelpError as help_page:
        click.echo(help_page.format_message(), err=True)
        return WRONG_COMMAND_LINE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rekindle"
        return _complain(error.format_message(), f"`{path} --help` tells what it takes", WRONG_COMMAND_LINE)
    except click.ClickException as error:
        return _complain(error.format_message(), "", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        # Python would complain once more when it closes stdout: give it somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code if isinstance(code, int) else 0


def _tell(error: RekindleError) -> int:
    if isinstance(error, SpecError):
        count = len(error.problems)
        click.echo(f"rekindle: {error.path}: {count} problem{'s' if count != 1 else ''}, nothing was done", err=True)
        for problem in error.problems:
            click.echo(f"  {problem.render(error.path)}", err=True)
        return error.exit_code
    return _complain(error.message, error.hint, error.exit_code)


def _complain(message: str, hint: str, code: int) -> int:
    click.echo(f"{click.style('rekindle:', fg='red')} {message}", err=True)
    if hint:
        click.echo(f"  {click.style('hint:', fg='cyan')} {hint}", err=True)
    return code


def _unforeseen(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """Python exits with 1 after this."""
    _complain(f"unforeseen {kind.__name__}: {error}", f"set {DEBUG}=1 and try again to see the traceback", 1)
