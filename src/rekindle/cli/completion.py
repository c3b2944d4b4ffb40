"""Complete a word of the command line: the scripts in `shells/` call `rekindle` with $_REKINDLE_COMPLETE.

The commands and options are read from `shells/commands.tsv` (see scripts/completion_table.py), so that nothing is
imported that takes long. Names and ids are read from the store by `completion_values`, which writes nothing. An error
prints nothing: a Tab that finds nothing leaves the typed line as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rekindle.cli.completion_values import VALUES, Named, TypedLine

SHELL = "_REKINDLE_COMPLETE"
"""The variable that names the shell: bash, zsh or fish."""

SHELLS = Path(__file__).parent / "shells"

SLOWEST = 2.0
"""Seconds after which a completion ends without an answer, as of a database server that does not answer."""

_FILES = ("files", "folders")  # the shell completes these
_OR_FILES = "+files"


class Answer(NamedTuple):
    """What completes a word: `words`, or what the shell finds itself (`files`, `folders`). `before` is the part of the
    typed word that stays as it is."""

    kind: str
    before: str = ""
    words: Sequence[Named] = ()


class _Command(NamedTuple):
    path: str
    arguments: list[str]  # their kinds
    options: dict[str, tuple[str, str]]  # by spelling: the longest spelling, and the kind
    shown: list[Named]  # the longest spelling of each option
    commands: list[Named]


def script(shell: str) -> str:
    """Return the script that a shell reads."""
    return (SHELLS / f"rekindle.{shell}").read_text(encoding="utf-8")


def print_answer() -> int:
    """Print what completes the command line of this process, as its shell's script reads it. Return the exit code."""
    import signal

    sys.excepthook = lambda *_: None
    signal.setitimer(signal.ITIMER_REAL, SLOWEST)
    shell = os.environ[SHELL]
    if shell == "bash":
        text = _for_bash(os.environ["_REKINDLE_LINE"], os.environ["_REKINDLE_BREAKS"])
    else:
        words = [_unquoted(word) for word in sys.argv[1:]] if shell == "fish" else sys.argv[1:]
        answer = complete(words[:-1], words[-1])
        text = _lines(answer.kind, answer.before, (f"{word}\t{remark}" for word, remark in answer.words))
    sys.stdout.write(text)
    return 0


def complete(before: Sequence[str], typed: str) -> Answer:
    """Return what completes `typed`, which follows the words `before` (those after `rekindle`)."""
    path, line, awaited, only_arguments = "", TypedLine({}, []), "", False
    command = _find("")
    for word in before:
        if awaited:
            line.options.setdefault(awaited, []).append(word)
            awaited = ""
        elif only_arguments:
            line.arguments.append(word)
        elif word == "--":
            only_arguments = True
        elif word.startswith("-") and len(word) > 1:
            awaited = _read_option(command, word, line)
        elif command.commands:
            path = f"{path} {word}".strip()
            if word not in (one.word for one in command.commands):
                return Answer("words")
            command = _find(path)
        else:
            line.arguments.append(word)
    if awaited:
        return _values(command.options[awaited][1], typed, line)
    if typed.startswith("-") and not only_arguments:
        name, equals, value = typed.partition("=")
        if equals and name in command.options:
            found = _values(command.options[name][1].removeprefix("="), value, line)
            return found._replace(before=f"{name}={found.before}")
        whole = [Named(typed)] if len(typed) == 2 and typed in command.options else []
        return _beginning(typed, [*whole, *command.shown])
    if command.commands:
        return _beginning(typed, command.commands)
    if not command.arguments:
        return Answer("words")
    at = len(line.arguments)
    kind = command.arguments[min(at, len(command.arguments) - 1)]
    return (
        _values(kind.removesuffix("…"), typed, line) if at < len(command.arguments) or "…" in kind else Answer("words")
    )


def _read_option(command: _Command, word: str, line: TypedLine) -> str:
    """Record an option with its value. Return its longest spelling if the next word is its value, else an empty
    text."""
    name, equals, value = word.partition("=")
    if not word.startswith("--") and word not in command.options:
        name, equals, value = word[:2], "=", word[2:]
    longest, kind = command.options.get(name, (name, ""))
    if equals or not kind or kind.startswith("="):
        line.options.setdefault(longest, []).append(value)
        return ""
    return longest


def _values(kind: str, typed: str, line: TypedLine) -> Answer:
    if kind in _FILES:
        return Answer(kind)
    if kind in ("", "-"):
        return Answer("words")
    if kind.endswith(_OR_FILES):
        found = _values(kind.removesuffix(_OR_FILES), typed, line)
        return found if found.words else Answer("files")
    if "|" in kind:
        return _beginning(typed, [Named(word) for word in kind.split("|")])
    before, words = VALUES[kind](typed, line)
    return Answer("words", before, words)


def _beginning(typed: str, words: Sequence[Named]) -> Answer:
    return Answer("words", "", [one for one in words if one.word.startswith(typed)])


def _find(path: str) -> _Command:
    """Return a command from the table, by its words after `rekindle`."""
    found = _Command(path, [], {"--store": ("--store", "folders"), "--json": ("--json", "")}, [], [])
    for row in _rows(path):
        name, kind, remark = row
        if name == ".":
            found.arguments.append(kind)
        elif name.startswith("+ "):
            found.commands.append(Named(name[2:], remark))
        else:
            spellings = name.split(",")
            longest = max(spellings, key=len)
            found.options.update(dict.fromkeys(spellings, (longest, kind)))
            found.shown.append(Named(longest, remark))
    return found


def _rows(path: str) -> Iterator[list[str]]:
    with open(SHELLS / "commands.tsv", encoding="utf-8") as table:
        inside = False
        for line in table:
            if not line.startswith("\t"):
                if inside:
                    return
                inside = line.rstrip("\n") == path
            elif inside:
                yield line.rstrip("\n").split("\t")[1:]


# What the scripts of the shells read: the kind and the part that stays, then a word and its remark in each line.


def _lines(kind: str, before: str, lines: Iterator[str]) -> str:
    return "\n".join([f"{kind}\t{before}", *lines]) + "\n"


def _for_bash(line: str, breaks: str) -> str:
    """Return what the script for bash reads, for the text before the cursor. Bash replaces the part of a word after the
    last of the characters `breaks`, or the whole word after an opening quote; it quotes nothing itself."""
    words, quote = _split(line)
    while len(words) > 1 and "=" in words[0]:  # variables before the command
        del words[0]
    answer = complete(words[1:-1], words[-1])
    cut = 0 if quote else 1 + max((words[-1].rfind(one) for one in breaks if one not in " \t\n\"'"), default=-1)
    whole = (f"{answer.before}{one.word}"[cut:] for one in answer.words)
    return _lines(answer.kind, "", (one if quote else _escaped(one) for one in whole))


def _split(line: str) -> tuple[list[str], str]:
    """Return the words of a command line of bash, and the quote that is open at its end. The last word is empty after
    a space."""
    words, quote, word, begun = [], "", "", False
    characters = iter(line.lstrip())
    for one in characters:
        if one == "\\" and quote != "'":
            word, begun = word + next(characters, ""), True
        elif quote:
            quote, word = ("", word) if one == quote else (quote, word + one)
        elif one in "'\"":
            quote, begun = one, True
        elif one in " \t":
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + one, True
    return [*words, word], quote


def _escaped(word: str) -> str:
    return "".join(one if one.isalnum() or one in "%+,-./:=@_^" else f"\\{one}" for one in word)


def _unquoted(word: str) -> str:
    """Return a word of fish without its quotes."""
    return " ".join(_split(word)[0]) if any(one in word for one in "\\'\"") else word
