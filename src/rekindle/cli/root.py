"""The command `rekindle` as a click group, with `import` and `completion`."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from rekindle.cli.command_table import ABOUT, COMMANDS, IMPORTS, MOST_COLUMNS, STORE_HELP, VERSION_HELP, help_page
from rekindle.cli.groups import LazyGroup
from rekindle.domain.errors import Refused, RekindleError, UsageError


class Typed(NamedTuple):
    """The root context's `obj`: the words after `rekindle`. `process`: the command line is the whole process, not a
    call of `main` by another program."""

    words: tuple[str, ...]
    process: bool


_ABSOLUTE = ("/", "sqlite:///", "postgresql://", "postgres://", "~")
_ONLY_STORE = frozenset(
    {"status", "workflows", "jobs", "attempts", "logs", "failures", "flaky", "reruns", "events", "cancel", "hold"}
    | {"release", "store"}
)
"""Commands that need no working directory if the store is named by an absolute path."""

REFUSALS: Mapping[int, tuple[str, str]] = {
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


def invoke(words: tuple[str, ...], *, process: bool) -> object:
    """Run a command line and return what the command returns. Raise click's errors as errors of rekindle."""
    try:
        return cli.main(args=list(words), prog_name="rekindle", standalone_mode=False, obj=Typed(words, process))
    except click.exceptions.NoArgsIsHelpError as page:
        click.echo(page.format_message(), err=True)
        return UsageError.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rekindle"
        raise UsageError(error.format_message(), hint=f"`{path} --help` shows its options") from None
    except click.ClickException as error:
        raise RekindleError(error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None


class _Root(LazyGroup):
    """The command `rekindle`."""

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 (click's signature)
        """Return the help page, which does not need click."""
        return help_page()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raise StoreDamaged if an unexpected error comes from a damaged store."""
        try:
            return super().invoke(ctx)
        except (RekindleError, click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in {errno.EPIPE, *REFUSALS}:
                raise
            from rekindle.cli.sessions import refuse_damaged

            refuse_damaged(ctx.params.get("store"), error)
            raise


@click.group(
    "rekindle",
    cls=_Root,
    entries=COMMANDS,
    help=ABOUT,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MOST_COLUMNS},
)
@click.option(
    "--store",
    metavar="URL",
    help=STORE_HELP,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help=VERSION_HELP)
@click.pass_context
def cli(ctx: click.Context, store: str | None) -> None:
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if isinstance(ctx.obj, Typed) and ctx.obj.process and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The command is imported: from now on an interrupt raises KeyboardInterrupt instead of ending the process.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    named = store or os.environ.get("REKINDLE_STORE") or ""
    if ctx.invoked_subcommand == "completion":
        return
    if not (ctx.invoked_subcommand in _ONLY_STORE and named.startswith(_ABSOLUTE)):
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
