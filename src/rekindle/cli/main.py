"""Run one command line. An error becomes one line on stderr, a hint, and an exit code.

Modules that `rekindle --help` and `--version` do not need are imported where they are used: see `_run`."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rekindle import __version__
from rekindle.domain.errors import RekindleError, SpecError
from rekindle.streams import describe_stdout_error, set_up_streams, stdout_error

if TYPE_CHECKING:
    from types import TracebackType

DEBUG = "REKINDLE_DEBUG"
WRONG_COMMAND_LINE = 64
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
READER_GONE = 1  # click's exit code for a failed write


_NO_BYTES = "surrogates not allowed"
"""The reason of a UnicodeEncodeError: a word of the command line is not UTF-8, and cannot be searched in the store."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's) and return its exit code.

    0 all well, 1 failed or refused, 2 jobs failed, 5 canceled, 6 timed out, 64 the command line is wrong.
    An unexpected error is not caught; `sys.excepthook` prints it in one line unless $REKINDLE_DEBUG is set."""
    process = arguments is None
    words = tuple(sys.argv[1:] if arguments is None else arguments)
    _begin_json(words)
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
        code = _run(words, process=process)
        sys.stdout.flush()
    except RekindleError as error:
        return _print_error(error)
    except KeyboardInterrupt:
        return _complain("interrupted", "", INTERRUPTED, "Interrupted")
    except UnicodeEncodeError as error:
        if error.reason != _NO_BYTES:
            raise
        from rekindle.domain.texts.display import show_bytes

        hint = "only the names of files may hold other bytes: names of jobs, values and notes are UTF-8"
        return _complain(f"not a valid text: {show_bytes(error.object)[:200]}", hint, WRONG_COMMAND_LINE, "BadValue")
    except OverflowError:
        from rekindle.domain.texts.quantities import MOST_INTEGER

        if (named := _too_large(words)) is None or os.environ.get(DEBUG):
            raise
        hint = f"the largest is {MOST_INTEGER}"
        return _complain(f"{named}: the number is too large", hint, WRONG_COMMAND_LINE, "BadValue")
    except OSError as error:
        if error is stdout_error():
            lost = describe_stdout_error(error)
            return READER_GONE if isinstance(error, BrokenPipeError) else _print_text(lost, "", 1)
        refused = None if os.environ.get(DEBUG) else _refused_by_system(error)
        if refused is None:
            raise
        return refused
    if (lost_output := stdout_error()) is not None and not isinstance(lost_output, BrokenPipeError):
        print(f"warning: {describe_stdout_error(lost_output)}", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _run(words: tuple[str, ...], *, process: bool) -> object:
    """Run the command line. The help page and the version do not need click, which takes milliseconds to import."""
    match words:
        case ("--help" | "-h",):
            from rekindle.cli.command_table import help_page

            print(help_page())
            return 0
        case ("--version",):
            print(f"rekindle {__version__}")
            return 0
    from rekindle.cli.light_imports import import_libraries

    import_libraries()
    from rekindle.cli.root import invoke

    return invoke(words, process=process)


def _too_large(words: Sequence[str]) -> str | None:
    """Return the first word with an integer that is too large for a store, after the option that it belongs to."""
    import re

    from rekindle.domain.texts.quantities import MOST_INTEGER

    for before, word in zip(("", *words), words, strict=False):
        if any(int(digits[:50]) > MOST_INTEGER for digits in re.findall("[0-9]{19,}", word)):
            return f"{before} {word}" if before.startswith("-") and "=" not in before else word
    return None


def _refused_by_system(error: OSError) -> int | None:
    """Print the failed operation and a hint. Return the exit code; None for an error that a user cannot resolve."""
    from rekindle.cli.root import REFUSALS

    if error.errno is None or error.errno not in REFUSALS:
        return None
    verb, hint = REFUSALS[error.errno]
    path = error.filename if isinstance(error.filename, str) else ""
    what = f" {path}" if path else " another file" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    return _complain(f"cannot {verb}{what}: {error.strerror}", hint.format(path=path or "PATH"), 1, "System")


def _show(error: UnicodeError) -> tuple[str, int]:
    r"""Encode characters that the terminal cannot show: a byte that is not UTF-8 as `\xe9`, others as ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from rekindle.domain.texts.display import show_bytes

    text = show_bytes(error.object[error.start : error.end])
    return "".join(character if character.isascii() else "?" for character in text), error.end


def _print_error(error: RekindleError) -> int:
    if isinstance(error, SpecError):
        count = len(error.problems)
        problems = [f"  {problem.render(error.path)}" for problem in error.problems]
        counted = f"{count} problem{'s' if count != 1 else ''}"
        print(f"rekindle: {error.path}: {counted}, nothing was done", *problems, sep="\n", file=sys.stderr, flush=True)
        _print_document(f"{error.path}: {counted}, nothing was done", "", error.exit_code, "SpecError", error)
        return error.exit_code
    return _complain(error.message, error.hint, error.exit_code, type(error).__name__, error)


def _complain(message: str, hint: str, code: int, kind: str, error: RekindleError | None = None) -> int:
    """Print an error on stderr, and with --json its document on stdout. Return the exit code."""
    _print_text(message, hint, code)
    _print_document(message, hint, code, kind, error)
    return code


def _begin_json(words: Sequence[str]) -> None:
    """Record whether the command line asks for JSON: errors then have a document. A command of another system has
    options of its own."""
    global _prints_json
    typed = words[: words.index("--")] if "--" in words else words
    _prints_json = "--json" in typed or "--jsonl" in typed
    if _prints_json:
        from rekindle.cli.command_table import DIALECTS

        _prints_json = not any(word in DIALECTS for word in typed[:3])
    if (output := sys.modules.get("rekindle.cli.output.json_output")) is not None:
        output.printed = 0  # type: ignore[attr-defined]


_prints_json = False


def _print_document(message: str, hint: str, code: int, kind: str, error: RekindleError | None) -> None:
    if _prints_json:
        from rekindle.cli.output.json_output import emit_error

        emit_error(kind, message, hint, code, error)
        sys.stdout.flush()


def _print_text(message: str, hint: str, code: int) -> int:
    import click

    click.echo(f"{click.style('rekindle:', fg='red')} {message}", err=True)
    if hint:
        click.echo(f"  {click.style('hint:', fg='cyan')} {hint}", err=True)
    return code


def _print_unexpected(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """Print an unexpected error. Python exits with 1 after this hook, and with SIGINT after a KeyboardInterrupt."""
    if kind is KeyboardInterrupt:
        return
    _complain(
        f"unexpected {kind.__name__}: {error}", f"set {DEBUG}=1 and try again to see the traceback", 1, "Unexpected"
    )


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process if a KeyboardInterrupt was raised in a callback, which cannot unwind the command."""
    if unraisable.exc_type is KeyboardInterrupt:
        os._exit(_complain("interrupted", "", INTERRUPTED, "Interrupted"))
    sys.__unraisablehook__(unraisable)
