"""The command `rekindle` as a click group, with `import` and `completion`."""

from __future__ import annotations

# `signal` takes milliseconds to import.
import _signal  # type: ignore[import-not-found]
import errno
import os
import re
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from rekindle.cli.command_table import (
    ABOUT,
    COMMANDS,
    DIALECTS,
    MOST_COLUMNS,
    STORE_HELP,
    VERSION_HELP,
    help_page,
)
from rekindle.cli.groups import LazyGroup
from rekindle.domain.errors import Refused, RekindleError, UsageError


class Typed(msgspec.Struct, frozen=True):
    """The root context's `obj`: the words after `rekindle`. `process`: the command line is the whole process, not a
    call of `main` by another program."""

    words: tuple[str, ...]
    process: bool


_ABSOLUTE = ("/", "sqlite:///", "postgresql://", "postgres://", "~")
_ONLY_STORE = frozenset(
    {"status", "workflows", "jobs", "attempts", "logs", "failures", "flaky", "reruns", "events", "cancel", "hold"}
    | {"release", "store", "top"}
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
        return _anywhere(list(words), Typed(words, process))
    except click.exceptions.NoArgsIsHelpError as page:
        click.echo(page.format_message(), err=True)
        return UsageError.exit_code
    except click.UsageError as error:
        raise _usage_error(error) from None
    except click.ClickException as error:
        raise RekindleError(error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None


def _usage_error(error: click.UsageError) -> UsageError:
    """Return click's error with a hint: what a flag of another tool is here, or the help of the command."""
    path = error.ctx.command_path if error.ctx else "rekindle"
    help_hint = f"`{path} --help` shows its options"
    known = {name for one in error.ctx.command.params for name in one.opts} if error.ctx else set()
    if isinstance(error, click.NoSuchOption) and not DIALECTS.keys() & path.split()[1:2]:
        from rekindle.cli.foreign_words import FLAGS

        hint = FLAGS.get(error.option_name, "")
        if hint and not (hint.startswith("--dry-run") and "--dry-run" not in known):
            return UsageError(f"{path} has no option {error.option_name}", hint=hint)
    text, form = _plain_message(error, path)
    extra = re.fullmatch(r"Got unexpected extra argument \((.*)\)", text)
    if extra is not None and "-w" in known:
        import shlex

        return UsageError(text, hint=f"did you mean `{path} -w {shlex.quote(extra[1])}`?")
    return UsageError(text, hint=f"{form}; {help_hint}" if form else help_hint)


def _plain_message(error: click.UsageError, path: str) -> tuple[str, str]:
    """Return the message of an error with the value as typed, and how the option or argument is written, if known."""
    parameter = getattr(error, "param", None)
    if isinstance(error, click.BadOptionUsage) and error.ctx is not None:
        parameter = next((one for one in error.ctx.command.params if error.option_name in one.opts), None)
    if not isinstance(parameter, click.Parameter):
        return error.format_message(), ""
    is_option = isinstance(parameter, click.Option)
    metavar = parameter.metavar or (parameter.type.name if is_option else parameter.name or "").upper()
    if isinstance(parameter.type, click.Choice):
        metavar = "|".join(map(str, parameter.type.choices))
    form = f"{parameter.opts[0]} {metavar}".rstrip() if is_option else f"{path} {metavar}"
    if isinstance(error, click.MissingParameter) or type(error) is not click.BadParameter:
        return error.format_message(), f"`{form}`"
    message = error.message.replace("is not a valid integer range", "is not a whole number")
    message = re.sub(r"is not a valid (integer|float)", r"is not a number", message)
    message = re.sub(r"is not in the range x>=(\S+?)\.$", r"is less than \1.", message)
    message = re.sub(r"is not in the range (\S+?)<=x<=(\S+?)\.$", r"is not between \1 and \2.", message)
    name = " / ".join(parameter.opts) if is_option else metavar.strip("[].")
    return f"{name}: {message.rstrip('.')}", f"`{form}`"


def _anywhere(words: list[str], typed: Typed) -> object:
    """Run a command line, in which --store, --json and --jsonl may stand anywhere. An option that a command does not
    know is moved to where it belongs: --store to the front, the others to the command at the end."""
    end = words.index("--") if "--" in words else len(words)
    json_moved = False
    while True:
        try:
            return cli.main(args=words, prog_name="rekindle", standalone_mode=False, obj=typed)
        except click.NoSuchOption as error:
            found = [at for at in range(end) if words[at].partition("=")[0] == error.option_name]
            if error.option_name == "--store" and found and found[-1]:
                at = found[-1]
                after = at + (1 if "=" in words[at] else 2)
                if after > end:
                    raise UsageError("--store needs a value", hint="--store FOLDER, or a URL") from None
                words = [*words[at:after], *words[:at], *words[after:]]
            elif error.option_name in ("--json", "--jsonl") and found and not json_moved:
                json_moved = True
                words = [*words[: found[0]], *words[found[0] + 1 : end], error.option_name, *words[end:]]
            else:
                raise


def _one_store(_: click.Context, __: click.Parameter, urls: tuple[str, ...]) -> str | None:
    """Return the store that --store names. Raise UsageError for different ones."""
    if len(different := dict.fromkeys(urls)) > 1:
        raise UsageError(f"--store names {len(different)} stores: {', '.join(different)}", hint="name one store")
    return urls[0] if urls else None


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
    multiple=True,
    callback=_one_store,
    metavar="URL",
    help=STORE_HELP,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help=VERSION_HELP)
@click.pass_context
def cli(ctx: click.Context, store: str | None) -> None:
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if isinstance(ctx.obj, Typed) and ctx.obj.process and _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        # The command is imported: from now on an interrupt raises KeyboardInterrupt instead of ending the process.
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    named = store or os.environ.get("REKINDLE_STORE") or ""
    if ctx.invoked_subcommand == "completion":
        return
    if not (ctx.invoked_subcommand in _ONLY_STORE and named.startswith(_ABSOLUTE)):
        _require_working_directory(elsewhere=store is not None)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell: for bash 4.4, zsh, and fish 3.4 or newer.

    It completes commands, options, files, and what is in the store: jobs, workflows, attempts. New shells read the
    script from the files below; zsh only if `fpath=(~/.zfunc $fpath)` is before `compinit` in ~/.zshrc. If the folder
    of the file is missing, make it first: `mkdir -p ~/.local/share/bash-completion/completions` for bash.

    \b
    Example:
      rekindle completion bash > ~/.local/share/bash-completion/completions/rekindle
      mkdir -p ~/.zfunc && rekindle completion zsh > ~/.zfunc/_rekindle
      rekindle completion fish > ~/.config/fish/completions/rekindle.fish
      source <(rekindle completion bash)      only in this shell
    """
    from rekindle.cli.completion import script

    click.echo(script(shell), nl=False)


def _require_working_directory(*, elsewhere: bool) -> None:
    """Raise Refused if the working directory does not exist, or, unless the store is `elsewhere`, cannot be entered."""
    from rekindle.files.store_files import working_directory

    hint = "change to another folder: cd /some/project"
    folder = working_directory()
    if not elsewhere and not os.access(os.curdir, os.X_OK):
        raise Refused(f"the working directory {folder} may not be entered: permission denied", hint=hint)
