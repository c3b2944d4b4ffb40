"""What code runs with: the interpreter, the installed distributions that it imports, the programs of its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache

from rekindle.domain.changes.prints import ABSENT, Part
from rekindle.domain.definition import Step
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.commandline import compile_command
from rekindle.files.digests import Look, look
from rekindle.files.reading import Reader

DEFAULT_PATH = "/bin:/usr/bin"

_BUILTINS = frozenset(
    {".", ":", "[", "alias", "bg", "break", "cd", "continue", "do", "done", "echo", "elif", "else", "esac",
     "eval", "exit", "export", "false", "fg", "fi", "for", "function", "getopts", "hash", "if", "in", "jobs",
     "kill", "local", "printf", "pwd", "read", "readonly", "return", "select", "set", "shift", "source", "test",
     "then", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
     "{", "}"}
)  # fmt: skip
_BEFORE_A_COMMAND = frozenset(
    {"!", "builtin", "command", "do", "elif", "else", "env", "exec", "if", "nice", "nohup", "then", "time",
     "until", "while", "{"}
)  # fmt: skip
_OPERATORS = frozenset(";&|()\n")


@cache
def interpreter() -> str:
    """Return the implementation, the version and the real path of the interpreter that runs calls."""
    import platform

    return f"{platform.python_implementation()} {platform.python_version()} ({os.path.realpath(sys.executable)})"


def distributions(modules: Iterable[str]) -> dict[Part, str]:
    """Return the versions of the distributions that provide these top-level modules."""
    wanted = sorted({name for name in modules if name not in sys.stdlib_module_names})
    if not wanted:
        return {}
    providers = _providers(_installed())
    return {
        Part("distribution", name): version(name)
        for module in wanted
        for name in sorted(set(providers.get(module, ())))
    }


def version(distribution: str) -> str:
    """Return the version of an installed distribution; ABSENT: it is not installed."""
    return _version(distribution, _installed())


def _installed() -> tuple[tuple[str, Look | None], ...]:
    """How the folders look in which distributions are: an installation changes that."""
    return tuple((entry, look(entry)) for entry in dict.fromkeys(sys.path) if entry)


@lru_cache(maxsize=2)
def _providers(_: tuple[tuple[str, Look | None], ...]) -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


@lru_cache(maxsize=512)
def _version(distribution: str, _: tuple[tuple[str, Look | None], ...]) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return ABSENT


class Programs:
    """Finds programs, and reads each file once while it looks the same."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, tuple[Look | None, str]] = {}

    def value(self, word: str, path: str, directory: str) -> str:
        """Return the real path and the digest of the program that a word names, as `PATH DIGEST`. ABSENT: there is
        none, or it lies in `directory`, the project's folder, and is no part of the environment."""
        found = _located(word, path, directory)
        if found is None:
            return ABSENT
        now = look(found)
        known = self._known.get(found)
        if known is None or known[0] != now:
            real = os.path.realpath(found)
            known = self._known[found] = now, f"{real} {self._reader.content('', real).digest}"
        return ABSENT if known[1].startswith(_real_folder(directory)) else known[1]


@lru_cache(maxsize=64)
def _real_folder(directory: str) -> str:
    return os.path.join(os.path.realpath(directory), "")


def program_file(value: str) -> str:
    """Return the path in what `program` returned."""
    return value.rpartition(" ")[0]


def _located(word: str, path: str, directory: str) -> str | None:
    for folder in (directory,) if "/" in word else path.split(":"):
        candidate = f"{folder}/{word}" if folder.startswith("/") else os.path.join(directory, folder, word)
        if word.startswith("/"):
            candidate = word
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def is_relative(word: str) -> bool:
    """Return whether a program is named by a path relative to where its command runs."""
    return "/" in word and not word.startswith("/")


def programs_of(step: Step) -> Iterator[str]:
    """Return the words that name programs in a step's commands. They may hold references (`${…}`)."""
    for run, shell in ((step.run, step.shell), (step.each.run, step.each.shell) if step.each else (None, None)):
        if run is not None:
            yield from _programs(run, shell)


@lru_cache(maxsize=8192)
def _programs(run: str | tuple[str, ...], shell: str | None) -> tuple[str, ...]:
    """Without what a shell has itself, and what only a shell can expand."""
    if not isinstance(run, str):
        return run[:1]
    found = [shell.split()[0]] if shell and shell.strip() else []
    try:
        found += ["/bin/sh"] if shell is None and compile_command(run, shell).needs_shell else []
    except RekindleError:  # it cannot start
        return ()
    found += _at_command_positions(run)
    return tuple(dict.fromkeys(found))


def _at_command_positions(text: str) -> Collection[str]:
    import shlex

    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found: list[str] = []
    starts, comment = True, False
    try:
        for word in lexer:
            if _OPERATORS.intersection(word) and not word.strip("();<>|&\n"):
                starts = word[-1] not in "<>" and ">&" not in word and "<&" not in word
                comment = comment and "\n" not in word
            elif comment or (starts and word.startswith("#")):
                comment = True
            elif starts and not (word in _BEFORE_A_COMMAND or word.startswith("-") or _is_assignment(word)):
                starts = False
                if word not in _BUILTINS and not _needs_shell(word):
                    found.append(word)
    except ValueError:  # a quote that is never closed, or a here-document's text
        return found
    return found


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _needs_shell(word: str) -> bool:
    """Whether a shell would expand a word. `${a.b}` is a reference of ours."""
    rest = word
    while (at := rest.find("${")) >= 0:
        end = rest.find("}", at)
        if end < 0 or "." not in rest[at:end]:
            return True
        rest = rest[:at] + rest[end + 1 :]
    return any(character in rest for character in "$`*?[~")
