"""What a step's `run:` becomes: the argument vector of a program, with a shell only where one is needed.

A list is the argument vector. A text means what `/bin/sh` would make of it; where it is nothing but words and quotes,
and the first word is a program's name, the shell would only split it: that is done here, and no shell is started.

A substituted value is one word wherever it stands, an empty one too, and is never read as syntax. It may begin with
`-`; programs that would take it for an option have `--`. Inside quotes, and in parts of the text that a shell reads in
another way (`$(…)`, here-documents, comments), only values of harmless characters are taken. What a command does with
its arguments is its own affair: `eval` and `let` read theirs as code, values among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.texts.shelltext import MARK, QUOTING_ALIKE, Place, places, plain_words
from rekindle.domain.texts.substitution import Reference, Words, lookup, parse
from rekindle.domain.texts.substitution import word as written

_HARMLESS = re.compile(r"[A-Za-z0-9_./:=@%+,-]*")
_REFUSED = {
    Place.QUOTED: ("inside quotes", "leave the quotes out, a value is one word already, or write `run` as a list"),
    Place.NESTED: (
        "where a shell reads it in another way",
        'hand it over with `env` and write "$NAME" there, or write `run` as a list',
    ),
}


@dataclass(frozen=True, slots=True)
class Insertion:
    """A value's place in an argument."""

    reference: Reference
    place: Place


Argument = str | tuple[str | Insertion, ...]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A compiled `run:`. `references` are those of its text, in order."""

    needs_shell: bool
    references: tuple[Reference, ...]
    _arguments: tuple[Argument, ...]
    _fixed: tuple[str, ...] | None  # the argument vector itself, when no value is inserted

    def argv(self, scope: Mapping[str, Any], later: str | None = None) -> list[str]:
        """The argument vector for these values (`scope` as in `substitution.lookup`). With `later`, that text stands
        for each value that is not there.

        Raises UnknownWord for a value that is not there, BadValue for one that may not stand where it is used.
        """
        if self._fixed is not None:
            return list(self._fixed)
        return [word for argument in self._arguments for word in _written_out(argument, scope, later)]


@lru_cache(maxsize=8192)
def compile_command(run: str | tuple[str, ...], shell: str | None) -> CommandLine:
    """Read a `run:`. `shell` (a name, with options if need be) is used for a text; a list is run as it is.

    Raises BadValue for an empty command, a quote that is never closed, or text around a reference that would change
    its value; UnknownWord for a `${dotted.name}` that is not known.
    """
    if not isinstance(run, str):
        if not run or not run[0]:
            raise BadValue("the command is empty", hint="write a program's name first")
        return _command(False, [_argument(_verbatim(item)) for item in run])
    if not run.strip():
        raise BadValue("the command is empty", hint="write what to run")
    pieces = _checked(run)
    references = [piece for piece in pieces if isinstance(piece, Reference)]
    marked = "".join(MARK if isinstance(piece, Reference) else piece for piece in pieces)
    words = plain_words(marked) if shell is None else None
    if words is None:
        return _in_shell(("/bin/sh",) if shell is None else tuple(shell.split()), marked, references)
    values = iter(references)
    return _command(
        False,
        [
            _argument(piece for text, place in word for piece in _woven(text, (Insertion(v, place) for v in values)))
            for word in words
        ],
    )


def _in_shell(shell: tuple[str, ...], marked: str, references: list[Reference]) -> CommandLine:
    """The text goes to the shell, every value quoted for it."""
    if not shell:
        raise BadValue("the shell is empty", hint="write its name, for instance `shell: bash`")
    if shell[0].rpartition("/")[2] in QUOTING_ALIKE:
        found = places(marked, [reference.text for reference in references])
    else:
        found = (Place.NESTED,) * len(references)
    if marked.startswith(("-", "+")):
        marked = " " + marked  # else the shell takes the text for an option
    text = _argument(_woven(marked, map(Insertion, references, found)))
    return _command(True, [*shell, "-c", text])


def _command(needs_shell: bool, arguments: list[Argument]) -> CommandLine:
    fixed = tuple(argument for argument in arguments if isinstance(argument, str))
    references = tuple(
        piece.reference
        for argument in arguments
        if not isinstance(argument, str)
        for piece in argument
        if isinstance(piece, Insertion)
    )
    return CommandLine(needs_shell, references, tuple(arguments), None if references else fixed)


def _checked(text: str) -> tuple[str | Reference, ...]:
    if "\0" in text:
        raise BadValue("the command holds a NUL character, which no program can be given", hint="leave it out")
    return parse(text)


def _verbatim(item: str) -> Iterator[str | Insertion]:
    """An item of an argument vector: its values stand as they are."""
    return (Insertion(piece, Place.ALONE) if isinstance(piece, Reference) else piece for piece in _checked(item))


def _woven(text: str, insertions: Iterator[Insertion]) -> Iterator[str | Insertion]:
    """The text with the next insertion in place of each mark."""
    first, *others = text.split(MARK)
    yield first
    for literal in others:
        yield next(insertions)
        yield literal


def _argument(pieces: Iterable[str | Insertion]) -> Argument:
    """Pieces as one argument: a plain text when nothing is inserted."""
    kept = tuple(piece for piece in pieces if piece != "")
    if any(isinstance(piece, Insertion) for piece in kept):
        return kept
    return "".join(piece for piece in kept if isinstance(piece, str))


def _written_out(argument: Argument, scope: Mapping[str, Any], later: str | None) -> Sequence[str]:
    """An argument with its values: one word, or as many as there are files where it is nothing but their set."""
    if isinstance(argument, str):
        return (argument,)
    alone = argument[0] if len(argument) == 1 else None
    if isinstance(alone, Insertion) and alone.place is Place.ALONE:
        value = _found(alone, scope, later)
        return value if isinstance(value, Words) else (_inserted(alone, value, later),)
    pieces = []
    for at, piece in enumerate(argument):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        value = _found(piece, scope, later)
        if isinstance(value, Words) and len(value) != 1:
            _check_apart(piece, len(value), argument[at - 1 : at] or ("",), argument[at + 1 : at + 2] or ("",))
            pieces.append(" ".join(_inserted(piece, one, later) for one in value))
        else:
            pieces.append(_inserted(piece, value[0] if isinstance(value, Words) else value, later))
    return ("".join(pieces),)


def _check_apart(piece: Insertion, count: int, before: Argument, after: Argument) -> None:
    """BadValue unless a set of files stands by itself in a shell's text, where each file can be a word."""
    left, right = (one[0] if isinstance(one[0], str) else "x" for one in (before, after))
    redirected = left.rstrip(" \t").endswith(("<", ">"))
    if piece.place is Place.WORD and not redirected and _ENDS.search(left) and _BEGINS.match(right):
        return
    raise BadValue(
        f"{piece.reference.text} stands for {count:,} files, and is no word of its own here",
        hint="put spaces around it and no quotes; each file becomes a word",
    )


_ENDS = re.compile(r"(?:\A|[\s;&|(])\Z")
_BEGINS = re.compile(r"\Z|[\s;&|)<>]")


def _found(insertion: Insertion, scope: Mapping[str, Any], later: str | None) -> Any:
    """The value of a reference; `later`, where that is given, for a value that is not known yet."""
    try:
        return lookup(insertion.reference, scope)
    except UnknownWord:
        if later is None:
            raise
        return later


def _inserted(insertion: Insertion, found: Any, later: str | None) -> str:
    """The value as it is written in its place. Raises BadValue when it may not stand there."""
    name = insertion.reference.text
    value = written(found)
    if later is not None and value == later:
        return later
    if "\0" in value:
        raise BadValue(f"the value of {name} holds a NUL character, which no program can be given")
    match insertion.place:
        case Place.ALONE:
            return value
        case Place.WORD:
            # Always quoted, so that a value is no keyword, assignment or file descriptor either.
            return "'" + value.replace("'", "'\"'\"'") + "'"
        case Place.QUOTED | Place.NESTED as place:
            if _HARMLESS.fullmatch(value) and (value or place is Place.QUOTED):
                return value
            where, hint = _REFUSED[place]
            raise BadValue(f"the value of {name} cannot stand {where}: {_shortened(value)}", hint=hint)


def _shortened(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")
