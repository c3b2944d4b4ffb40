"""Dependencies of code and commands: the interpreter, imported distributions, programs, and project files that
commands name."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rekindle.domain.changes.fingerprints import ABSENT, CommandRole, EnvironmentPart
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.commandline import compile_command
from rekindle.domain.texts.namedfiles import WRITTEN, FileRole, NamedFile, is_source
from rekindle.domain.texts.patterns import glob_base, glob_location
from rekindle.files.digests import FileReader, FileStat, file_stat

if TYPE_CHECKING:
    from rekindle.domain.definition import Step

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


def distributions(modules: Iterable[str]) -> dict[EnvironmentPart, str]:
    """Return the versions of the distributions that provide these top-level modules."""
    wanted = sorted({name for name in modules if name not in sys.stdlib_module_names})
    if not wanted:
        return {}
    providers = _providers(_installed())
    return {
        EnvironmentPart("distribution", name): distribution_version(name)
        for module in wanted
        for name in sorted(set(providers.get(module, ())))
    }


def distribution_version(distribution: str) -> str:
    """Return the version of an installed distribution; ABSENT if it is not installed."""
    return _version(distribution, _installed())


def _installed() -> tuple[tuple[str, FileStat | None], ...]:
    """Return the stat of the folders that contain distributions: an installation changes it."""
    return tuple((entry, file_stat(entry)) for entry in dict.fromkeys(sys.path) if entry)


@lru_cache(maxsize=2)
def _providers(_: tuple[tuple[str, FileStat | None], ...]) -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


@lru_cache(maxsize=512)
def _version(distribution: str, _: tuple[tuple[str, FileStat | None], ...]) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return ABSENT


class ProgramDigests:
    """Finds programs, and reads each file once while its stat is the same."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._known: dict[str, tuple[FileStat | None, str]] = {}

    def value(self, word: str, path: str, directory: str) -> str:
        """Return the real path and the digest of the program that a word names, as `PATH DIGEST`. ABSENT if there is
        none, or if it lies in `directory` (the project's folder) and so is not part of the environment."""
        known = self._known.get(word) if word.startswith("/") else None
        if known is not None and known[0] is not None and known[0] == file_stat(word):
            return ABSENT if known[1].startswith(_real_folder(directory)) else known[1]
        found = _located(word, path, directory)
        if found is None:
            return ABSENT
        now = file_stat(found)
        known = self._known.get(found)
        if known is None or known[0] != now:
            real = os.path.realpath(found)
            known = self._known[found] = now, f"{real} {self._reader.content('', real).digest}"
        return ABSENT if known[1].startswith(_real_folder(directory)) else known[1]


@lru_cache(maxsize=64)
def _real_folder(directory: str) -> str:
    return os.path.join(os.path.realpath(directory), "")


def program_file(value: str) -> str:
    """Return the path in a value of ProgramDigests."""
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
    """Leave out a shell's builtins, and words that only a shell can expand."""
    if not isinstance(run, str):
        return run[:1]
    found = [shell.split()[0]] if shell and shell.strip() else []
    try:
        found += ["/bin/sh"] if shell is None and compile_command(run, shell).needs_shell else []
    except RekindleError:  # the command cannot start
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
    """Return whether a shell would expand a word. `${a.b}` is rekindle's reference."""
    rest = word
    while (at := rest.find("${")) >= 0:
        end = rest.find("}", at)
        if end < 0 or "." not in rest[at:end]:
            return True
        rest = rest[:at] + rest[end + 1 :]
    return any(character in rest for character in "$`*?[~")


_STORE = "/.rekindle/"


class LocatedFile(NamedTuple):
    """A project file that a command names, or the path of one that it would read if it existed. `fixed`: the attempt
    itself does not write it, so that a later change is somebody else's."""

    name: str
    path: str  # absolute
    named: CommandRole
    there: bool
    fixed: bool
    pattern: str | None = None  # the word is a pattern, and `path` its location: see domain.texts.patterns


def locate_files(
    named: Iterable[NamedFile], directory: str, project: str, declared: Collection[str] = ()
) -> tuple[LocatedFile, ...]:
    """Return the files that commands in the folder `directory` name, in order and once each: regular files within
    the folder `project`, and patterns whose literal folder exists. Left out are declared files and files in declared
    folders (`declared`: absolute paths), the store's files and those in an attempt's own folder."""
    inside = project.rstrip("/") + "/"
    own = "" if directory == project else directory.rstrip("/") + "/"
    found: dict[str, LocatedFile] = {}
    for one in named:
        place = _place(one, directory, inside, own)
        if (place is None or not place[1]) and (pattern := _pattern(one, directory, inside, own)) is not None:
            if not (declared and _is_declared(glob_base(*pattern), declared)) and pattern[0] not in declared:
                found[pattern[0]] = LocatedFile(one.word, pattern[0], "other", True, False, pattern[1])
            continue
        if place is None:
            continue
        path, there = place
        if declared and _is_declared(path, declared):
            continue
        role = _ROLES[one.role]
        fixed = one.role == "program" and (one.first or is_source(one.paths[0]))
        known = found.get(path)
        if known is None:
            found[path] = LocatedFile(one.word, path, role, there, fixed)
        else:
            found[path] = known._replace(named=max(known.named, role, key=_RANKS.index), fixed=known.fixed and fixed)
    return tuple(found.values())


_ROLES: dict[FileRole, CommandRole] = {
    "program": "program",
    "source": "program",
    "other": "other",
    "written": "made",
    "appended": "written",
}
_RANKS: tuple[CommandRole, ...] = ("", "other", "program", "written", "made")


def _place(one: NamedFile, directory: str, inside: str, own: str) -> tuple[str, bool] | None:
    """Return the path of the file and whether it exists; None if no path counts."""
    first = None
    for path in one.paths:
        full = os.path.normpath(os.path.join(directory, path))
        if not full.startswith(inside) or _STORE in full[len(inside) - 1 :] or (own and full.startswith(own)):
            continue
        try:
            if stat.S_ISREG(os.stat(full).st_mode):
                return full, True
        except (OSError, ValueError):
            first = first or full
    if first is None or not (one.awaited or one.role in WRITTEN):
        return None
    return first, False


def _pattern(one: NamedFile, directory: str, inside: str, own: str) -> tuple[str, str] | None:
    """Return the location and the text of a pattern whose literal folder exists; None if the word is none."""
    if one.role not in ("source", "other"):
        return None
    for path in one.globs:
        place = glob_location(directory, path)
        folder = glob_base(place, path) + "/"
        counts = folder.startswith(inside) and _STORE not in folder and not (own and folder.startswith(own))
        if counts and os.path.isdir(folder):
            return place, path
    return None


def _is_declared(path: str, declared: Collection[str]) -> bool:
    return path in declared or any(path.startswith(one + "/") for one in declared)
