"""The command `rekindle`, with `import` and `completion`. An error becomes one line on stderr, a hint, and an exit
code."""

from __future__ import annotations

import codecs
import errno
import gc
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rekindle.cli.groups import DIALECTS, IMPORTS, Entry, LazyGroup
from rekindle.domain.errors import Refused, RekindleError, SpecError
from rekindle.domain.texts.display import show_bytes
from rekindle.streams import describe_stdout_error, set_up_streams, stdout_error

if TYPE_CHECKING:
    from types import TracebackType

DEBUG = "REKINDLE_DEBUG"
WRONG_COMMAND_LINE = 64
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
READER_GONE = 1  # click's exit code for a failed write


class Typed(NamedTuple):
    """The root context's `obj`: the words after `rekindle`. `process`: the command line is the whole process, not a
    call of `main` by another program."""

    words: tuple[str, ...]
    process: bool


_NO_BYTES = "surrogates not allowed"
"""The reason of a UnicodeEncodeError: a word of the command line is not UTF-8, and cannot be searched in the store."""

GARBAGE = 50_000
"""Allocations between two garbage collections. A plan of 100,000 jobs makes a million objects without reference cycles:
with Python's default of 700 the collector takes a quarter of the time."""

COMMANDS = {
    "run": Entry("rekindle.cli.commands.run:run", "Submit SPEC and bring its workflow up to date."),
    "init": Entry("rekindle.cli.commands.store:init", "Make a store here, private or shared with a group."),
    "submit": Entry("rekindle.cli.commands.submit:submit", "Store SPEC as a workflow, and run nothing."),
    "work": Entry("rekindle.cli.commands.work:work", "Run ready jobs until none is left."),
    "status": Entry("rekindle.cli.commands.status:status", "Show each workflow at a glance."),
    "workflows": Entry(
        "rekindle.cli.commands.workflows:workflows", "List, show, compare, archive and delete workflows."
    ),
    "jobs": Entry("rekindle.cli.commands.jobs:jobs", "List and show jobs."),
    "attempts": Entry(
        "rekindle.cli.commands.attempts:attempts", "List, show and compare attempts, the executions of jobs."
    ),
    "logs": Entry("rekindle.cli.commands.logs:logs", "Print what a job printed."),
    "failures": Entry("rekindle.cli.commands.failures:failures", "Group failed attempts by their error."),
    "flaky": Entry("rekindle.cli.commands.failures:flaky", "Show which jobs fail sometimes, and how often."),
    "why": Entry("rekindle.cli.commands.why:why", "Explain whether jobs would run again, and why or why not."),
    "rerun": Entry("rekindle.cli.commands.rerun:rerun", "Plan a rerun of a SELECTION, show it, and apply it."),
    "supervise": Entry(
        "rekindle.cli.commands.supervise:supervise", "Run WORKFLOW, and rerun its failures, within guards."
    ),
    "restart": Entry(
        "rekindle.cli.commands.restart:restart", "Rerun the interrupted, stale and reset jobs of a workflow."
    ),
    "reset": Entry("rekindle.cli.commands.reset:reset", "Archive a SELECTION and hold it until `restart`."),
    "accept": Entry(
        "rekindle.cli.commands.reset:accept", "Accept the changes of a SELECTION, so that it is not stale."
    ),
    "apply": Entry("rekindle.cli.commands.rerun:apply", "Apply a plan that `rerun --save-plan` saved."),
    "undo": Entry("rekindle.cli.commands.reruns:undo", "Undo a rerun."),
    "reruns": Entry("rekindle.cli.commands.reruns:reruns", "List and show the reruns that were applied."),
    "events": Entry("rekindle.cli.commands.events:events", "List what happened in the store."),
    "cancel": Entry("rekindle.cli.commands.control:cancel", "End running jobs, and keep others from starting."),
    "hold": Entry("rekindle.cli.commands.control:hold", "Keep jobs from starting until they are released."),
    "release": Entry("rekindle.cli.commands.control:release", "Let held jobs start again."),
    "store": Entry("rekindle.cli.commands.store:store", "Check the store."),
    "dialects": Entry("rekindle.cli.commands.dialects:dialects", "List and install the commands of other systems."),
    **DIALECTS,
    "import": Entry("rekindle.cli.main:import_history", "Import workflows of other systems with their history."),
    "completion": Entry("rekindle.cli.main:completion", "Print the completion script for a shell."),
}

_ONLY_STORE = frozenset(
    {"status", "workflows", "jobs", "attempts", "logs", "failures", "flaky", "reruns", "events", "cancel", "hold"}
    | {"release", "store"}
)
"""Commands that need no working directory if the store is named by an absolute path."""

_REFUSALS: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("write", "make room on that file system (`df -h` shows it), and try again"),
    errno.EDQUOT: ("write", "make room: the disk quota of this user is used up (`quota` shows it)"),
    errno.EROFS: ("write", "the file system is mounted read-only; --store FOLDER names a store elsewhere"),
    errno.EFBIG: ("write", "raise the limit of a file's size: `ulimit -f unlimited`"),
    errno.EIO: ("read or write", "check the disk: `dmesg` shows its errors"),
    errno.EACCES: ("open", "check who may: `ls -ld {path}`"),
    errno.EPERM: ("open", "check who may: `ls -ld {path}`"),
    errno.EMFILE: ("open", "raise the limit of open files: `ulimit -n 1024`"),
    errno.ENFILE: ("open", "all processes of this machine together have too many files open; try again later"),
    errno.ENOMEM: ("continue", "free some memory, and try again"),
    errno.EAGAIN: ("start a process or thread", "raise the limit of processes: `ulimit -u`; or end some"),
    errno.ENOENT: ("open", "check the path: it may have been removed meanwhile"),
    errno.EEXIST: ("make", "check the path: something of that name is there"),
    errno.ENAMETOOLONG: ("open", "shorten the path"),
    errno.ENOTDIR: ("open", "check the path: a part of it is not a folder"),
    errno.EISDIR: ("open", "check the path: a folder is where a file is expected"),
    errno.ELOOP: ("open", "check the path: a symbolic link leads back to itself"),
}
"""Errors of the operating system that a user can resolve: the failed operation, and a hint."""


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rekindle import __version__

        click.echo(f"rekindle {__version__}")
        ctx.exit()


class _Root(LazyGroup):
    """The command `rekindle`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raise StoreDamaged if an unexpected error comes from a damaged store."""
        try:
            return super().invoke(ctx)
        except (RekindleError, click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in {errno.EPIPE, *_REFUSALS}:
                raise
            from rekindle.cli.sessions import refuse_damaged

            refuse_damaged(ctx.params.get("store"), error)
            raise


@click.group(
    "rekindle",
    cls=_Root,
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
def cli(ctx: click.Context, store: str | None) -> None:
    """Run workflows of jobs, and rerun exactly the jobs that must run again.

    \b
    Example:
      rekindle run sweep.yaml -j 4        run it
      rekindle failures                   see what failed, and why
      rekindle rerun -s failed --work     rerun them, and the jobs that need them
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if isinstance(ctx.obj, Typed) and ctx.obj.process and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The command is imported: from now on an interrupt raises KeyboardInterrupt instead of ending the process.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    named = store or os.environ.get("REKINDLE_STORE") or ""
    if ctx.invoked_subcommand == "completion":
        return
    if not (ctx.invoked_subcommand in _ONLY_STORE and named.startswith(("/", "sqlite:///", "~"))):
        _require_working_directory(elsewhere=store is not None)


@click.group("import", cls=LazyGroup, entries=IMPORTS)
def import_history() -> None:
    """Import workflows of other systems with their history: jobs, states, and every attempt.

    \b
    Example:
      rekindle import fireworks dump
    """


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Example:
      rekindle completion bash > ~/.local/share/bash-completion/completions/rekindle
      rekindle completion zsh > ~/.zfunc/_rekindle
      rekindle completion fish > ~/.config/fish/completions/rekindle.fish
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(root, {}, "rekindle", "_REKINDLE_COMPLETE").source())


def _require_working_directory(*, elsewhere: bool) -> None:
    """Raise Refused if the working directory does not exist, or, unless the store is `elsewhere`, cannot be entered."""
    from rekindle.files.store_files import working_directory

    hint = "change to another folder: cd /some/project"
    folder = working_directory()
    if not elsewhere and not os.access(os.curdir, os.X_OK):
        raise Refused(f"the working directory {folder} may not be entered: permission denied", hint=hint)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's) and return its exit code.

    0 all well, 1 failed or refused, 2 jobs failed, 5 canceled, 6 timed out, 64 the command line is wrong.
    An unexpected error is not caught; `sys.excepthook` prints it in one line unless $REKINDLE_DEBUG is set."""
    gc.set_threshold(GARBAGE)
    process = arguments is None
    if process:
        set_up_streams()
        sys.unraisablehook = _unraisable
    if not os.environ.get(DEBUG):
        sys.excepthook = _print_unexpected
    codecs.register_error("shown", _show)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="shown")
    try:
        words = tuple(sys.argv[1:] if arguments is None else arguments)
        code = cli.main(args=list(words), prog_name="rekindle", standalone_mode=False, obj=Typed(words, process))
        sys.stdout.flush()
    except RekindleError as error:
        return _print_error(error)
    except click.exceptions.NoArgsIsHelpError as help_page:
        click.echo(help_page.format_message(), err=True)
        return WRONG_COMMAND_LINE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rekindle"
        return _complain(error.format_message(), f"`{path} --help` shows its options", WRONG_COMMAND_LINE)
    except click.ClickException as error:
        return _complain(error.format_message(), "", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", "", INTERRUPTED)
    except UnicodeEncodeError as error:
        if error.reason != _NO_BYTES:
            raise
        hint = "only the names of files may hold other bytes: names of jobs, values and notes are UTF-8"
        return _complain(f"not a valid text: {show_bytes(error.object)[:200]}", hint, WRONG_COMMAND_LINE)
    except OverflowError:
        from rekindle.domain.texts.quantities import MOST_INTEGER

        if (named := _too_large(words)) is None or os.environ.get(DEBUG):
            raise
        return _complain(f"{named}: the number is too large", f"the largest is {MOST_INTEGER}", WRONG_COMMAND_LINE)
    except OSError as error:
        if error is stdout_error():
            lost = describe_stdout_error(error)
            return READER_GONE if isinstance(error, BrokenPipeError) else _complain(lost, "", 1)
        if error.errno not in _REFUSALS or os.environ.get(DEBUG):
            raise
        return _refused_by_system(error)
    if (lost_output := stdout_error()) is not None and not isinstance(lost_output, BrokenPipeError):
        click.echo(f"warning: {describe_stdout_error(lost_output)}", err=True)
    return code if isinstance(code, int) else 0


def _too_large(words: Sequence[str]) -> str | None:
    """Return the first word with an integer that is too large for a store, after the option that it belongs to."""
    from rekindle.domain.texts.quantities import MOST_INTEGER

    for before, word in zip(("", *words), words, strict=False):
        if any(int(digits[:50]) > MOST_INTEGER for digits in re.findall("[0-9]{19,}", word)):
            return f"{before} {word}" if before.startswith("-") and "=" not in before else word
    return None


def _refused_by_system(error: OSError) -> int:
    """Print the failed operation and a hint. Return the exit code."""
    verb, hint = _REFUSALS[error.errno or 0]
    path = error.filename if isinstance(error.filename, str) else ""
    what = f" {path}" if path else " another file" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    return _complain(f"cannot {verb}{what}: {error.strerror}", hint.format(path=path or "PATH"), 1)


def _show(error: UnicodeError) -> tuple[str, int]:
    r"""Encode characters that the terminal cannot show: a byte that is not UTF-8 as `\xe9`, others as ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = show_bytes(error.object[error.start : error.end])
    return "".join(character if character.isascii() else "?" for character in text), error.end


def _print_error(error: RekindleError) -> int:
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


def _print_unexpected(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """Print an unexpected error. Python exits with 1 after this hook, and with SIGINT after a KeyboardInterrupt."""
    if kind is KeyboardInterrupt:
        return
    _complain(f"unexpected {kind.__name__}: {error}", f"set {DEBUG}=1 and try again to see the traceback", 1)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process if a KeyboardInterrupt was raised in a callback, which cannot unwind the command."""
    if unraisable.exc_type is KeyboardInterrupt:
        os._exit(_complain("interrupted", "", INTERRUPTED))
    sys.__unraisablehook__(unraisable)
