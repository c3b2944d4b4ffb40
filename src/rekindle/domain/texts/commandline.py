"""Compile a step's `run:` into an argument vector, with a shell only if one is needed.

A list is the argument vector. A text has the meaning that `/bin/sh` gives it; a text of only words and quotes whose
first word is a program is split here, without a shell.

A substituted value is always one word, even if empty, and is never parsed as syntax. It may begin with `-`; use `--`
for programs that would take it for an option. Inside quotes, and in parts that a shell parses differently (`$(…)`,
here-documents, comments), only values of harmless characters are accepted. Arguments that a command itself evaluates,
as `eval` and `let` do, are not protected.

Only values of harmless characters are inserted into a shell's text. All others are arguments of the shell, and the text
expands them within double quotes: `sh -c '_rk1=$1; shift 1; ls "$_rk1"' sh 'a b'`. They are moved to variables that no
program inherits, since `set`, `shift` and functions have positional parameters of their own; a text has none at its
start.

Texts are read by the POSIX shell's rules as far as they decide the context of a value. A part that cannot be followed
with certainty (a here-document, nested substitutions) counts as NESTED up to the end of the text, so that a mistake
here can refuse a value, but never run it."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rekindle.domain.errors import BadValue, UnknownWord
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.domain.texts.substitution import Reference, Words, lookup_reference, parse_text
from rekindle.domain.texts.substitution import format_word as written

_HARMLESS = lazy_regex(r"[A-Za-z0-9_./:=@%+,-]*")


class Insertion(msgspec.Struct, frozen=True):
    """A value to insert into an argument."""

    reference: Reference
    place: QuoteContext


Argument = str | tuple[str | Insertion, ...]


class CommandLine(msgspec.Struct, frozen=True):
    """A compiled `run:`. `references` are those of its text, in order. `_prefix` begins the names of the variables that
    its text expands for values."""

    needs_shell: bool
    references: tuple[Reference, ...]
    _arguments: tuple[Argument, ...]
    _fixed: tuple[str, ...] | None  # the complete argument vector, if no value is inserted
    _prefix: str = ""

    def argv(self, scope: Mapping[str, Any]) -> list[str]:
        """Return the argument vector for these values (`scope` as in `lookup_reference`).

        Raise UnknownWord for a missing value, BadValue for one that is not allowed in its context."""
        words, variables = self.words(scope)
        if not variables:
            return words
        *shell, text = words
        numbered = enumerate(variables, 1)
        moves = " ".join(f"{name}=${{{number}}}" if number > 9 else f"{name}=${number}" for number, name in numbered)
        # On the text's first line, so that the shell's messages have the line numbers of the text.
        return [*shell, f"{moves}; shift {len(variables)}; {text}", shell[0], *variables.values()]

    def words(self, scope: Mapping[str, Any], later: str | None = None) -> tuple[list[str], dict[str, str]]:
        """Return the words as written, and the variables that a shell's text expands for values. With `later`, that
        text replaces each missing value. Raises as `argv` does."""
        if self._fixed is not None:
            return list(self._fixed), {}
        passed: dict[str, str] = {}  # the variable of each value

        def expand(value: str) -> str:
            return f'"${passed.setdefault(value, f"{self._prefix}{len(passed) + 1}")}"'

        words = [word for argument in self._arguments for word in _render_argument(argument, scope, later, expand)]
        return words, {name: value for value, name in passed.items()}


@lru_cache(maxsize=8192)
def compile_command(run: str | tuple[str, ...], shell: str | None) -> CommandLine:
    """Compile a `run:`. `shell` (a name, optionally with options) runs a text; a list is run without one.

    Raise BadValue for an empty command, an unclosed quote, or text around a reference that would change its value;
    UnknownWord for an unknown `${dotted.name}`."""
    if not isinstance(run, str):
        if not run or not run[0]:
            raise BadValue("the command is empty", hint="write a program's name first")
        return _command(False, [_argument(_compile_item(item)) for item in run])
    if not run.strip():
        raise BadValue("the command is empty", hint="write what to run")
    pieces = _parse(run)
    references = [piece for piece in pieces if isinstance(piece, Reference)]
    marked = "".join(MARK if isinstance(piece, Reference) else piece for piece in pieces)
    words = plain_words(marked) if shell is None else None
    if words is None:
        return _in_shell(("/bin/sh",) if shell is None else tuple(shell.split()), marked, references)
    alone = {QuoteContext.WORD: QuoteContext.ALONE}
    insertions = iter([Insertion(one, alone.get(place, place)) for one, place in _in_context(marked, references)])
    return _command(False, [_argument(_insert_at_marks(word, insertions)) for word in words])


def _in_shell(shell: tuple[str, ...], marked: str, references: list[Reference]) -> CommandLine:
    """Pass the text to the shell."""
    if not shell:
        raise BadValue("the shell is empty", hint="write its name, for instance `shell: bash`")
    if shell[0].rpartition("/")[2] in QUOTING_ALIKE:
        insertions = [Insertion(reference, place) for reference, place in _in_context(marked, references)]
    else:
        insertions = [Insertion(reference, QuoteContext.NESTED) for reference in references]
    if marked.startswith(("-", "+")):
        marked = " " + marked  # otherwise the shell would take the text for an option
    prefix = "_rk"
    while prefix in marked:
        prefix = f"_{prefix}"
    return _command(True, [*shell, "-c", _argument(_insert_at_marks(marked, iter(insertions)))], prefix)


def _in_context(marked: str, references: list[Reference]) -> Iterator[tuple[Reference, QuoteContext]]:
    return zip(references, quote_contexts(marked, [reference.text for reference in references]), strict=True)


def _command(needs_shell: bool, arguments: list[Argument], prefix: str = "") -> CommandLine:
    fixed = tuple(argument for argument in arguments if isinstance(argument, str))
    references = tuple(
        piece.reference
        for argument in arguments
        if not isinstance(argument, str)
        for piece in argument
        if isinstance(piece, Insertion)
    )
    return CommandLine(needs_shell, references, tuple(arguments), None if references else fixed, prefix)


def _parse(text: str) -> tuple[str | Reference, ...]:
    if "\0" in text:
        raise BadValue("the command holds a NUL character, which no program can be given", hint="leave it out")
    return parse_text(text)


def _compile_item(item: str) -> Iterator[str | Insertion]:
    """Compile an item of an argument vector, whose values are inserted unchanged."""
    return (Insertion(piece, QuoteContext.ALONE) if isinstance(piece, Reference) else piece for piece in _parse(item))


def _insert_at_marks(text: str, insertions: Iterator[Insertion]) -> Iterator[str | Insertion]:
    """Yield the text with the next insertion in place of each mark."""
    first, *others = text.split(MARK)
    yield first
    for literal in others:
        yield next(insertions)
        yield literal


def _argument(pieces: Iterable[str | Insertion]) -> Argument:
    """Join pieces to one argument: a plain text if nothing is inserted."""
    kept = tuple(piece for piece in pieces if piece != "")
    if any(isinstance(piece, Insertion) for piece in kept):
        return kept
    return "".join(piece for piece in kept if isinstance(piece, str))


def _render_argument(
    argument: Argument, scope: Mapping[str, Any], later: str | None, expand: Callable[[str], str]
) -> Sequence[str]:
    """Return an argument with its values: one word, or one word per file if it is just a set of files."""
    if isinstance(argument, str):
        return (argument,)
    alone = argument[0] if len(argument) == 1 else None
    if isinstance(alone, Insertion) and alone.place is QuoteContext.ALONE:
        value = _lookup(alone, scope, later)
        return value if isinstance(value, Words) else (_render_insertion(alone, value, later, expand),)
    pieces = []
    for at, piece in enumerate(argument):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        value = _lookup(piece, scope, later)
        if isinstance(value, Words) and len(value) != 1:
            _check_separate(piece, len(value), argument[at - 1 : at] or ("",), argument[at + 1 : at + 2] or ("",))
            pieces.append(" ".join(_render_insertion(piece, one, later, expand) for one in value))
        else:
            one = value[0] if isinstance(value, Words) else value
            pieces.append(_render_insertion(piece, one, later, expand))
    return ("".join(pieces),)


def _check_separate(piece: Insertion, count: int, before: Argument, after: Argument) -> None:
    """Raise BadValue unless a set of files stands apart in a shell's text, where each file can be a word."""
    left, right = (one[0] if isinstance(one[0], str) else "x" for one in (before, after))
    redirected = left.rstrip(" \t").endswith(("<", ">"))
    if piece.place is QuoteContext.WORD and not redirected and _ENDS.search(left) and _BEGINS.match(right):
        return
    raise BadValue(
        f"{piece.reference.text} stands for {count:,} files, and is not a separate word here",
        hint="put spaces around it and no quotes; each file becomes a word",
    )


_ENDS = lazy_regex(r"(?:\A|[\s;&|(])\Z")


_BEGINS = lazy_regex(r"\Z|[\s;&|)<>]")


def _lookup(insertion: Insertion, scope: Mapping[str, Any], later: str | None) -> Any:
    """Return the value of a reference, or `later` if it is given and the value is not known yet."""
    try:
        return lookup_reference(insertion.reference, scope)
    except UnknownWord:
        if later is None:
            raise
        return later


def _render_insertion(insertion: Insertion, found: Any, later: str | None, expand: Callable[[str], str]) -> str:
    """Return the value as written in its context; `expand` returns the expansion that a shell's text has for it. Raise
    BadValue if the value is not allowed there."""
    name = insertion.reference.text
    value = written(found)
    if later is not None and value == later:
        return later
    if "\0" in value:
        raise BadValue(f"the value of {name} holds a NUL character, which no program can be given")
    match insertion.place:
        case QuoteContext.ALONE:
            return value
        case QuoteContext.WORD:
            # Always within quotes, so that a value cannot be a keyword, an assignment or a file descriptor.
            return f"'{value}'" if _HARMLESS.fullmatch(value) else expand(value)
        case QuoteContext.QUOTED | QuoteContext.NESTED as place:
            if _HARMLESS.fullmatch(value) and (value or place is QuoteContext.QUOTED):
                return value
            where, hint = _REFUSED[place]
            raise BadValue(f"the value of {name} cannot stand {where}: {_shorten_repr(value)}", hint=hint)


def _shorten_repr(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")


MARK = "\0"


QUOTING_ALIKE = frozenset({"sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "zsh"})
"""Shells with the quoting rules of `/bin/sh`."""


class QuoteContext(enum.Enum):
    """The context of a value in a command, which decides how it is written."""

    ALONE = enum.auto()  # an argument, without a shell
    WORD = enum.auto()  # a shell's text, outside quotes
    QUOTED = enum.auto()  # inside quotes
    NESTED = enum.auto()  # a part of a shell's text that is parsed differently, or twice


_REFUSED = {
    QuoteContext.QUOTED: (
        "inside quotes",
        "leave the quotes out, a value is one word already, or write `run` as a list",
    ),
    QuoteContext.NESTED: (
        "where a shell reads it in another way",
        'hand it over with `env` and write "$NAME" there, or write `run` as a list',
    ),
}

# Constructs whose end is certain: nothing in them can hide it. Possessive groups are written `(?>(?:…)*)`, since
# `(?:…)*+` is broken in Python before 3.11.5.
_NAME = r"\$(?:[A-Za-z_]\w*|[0-9@*\#?$!-])"


_BRACED = r"\$\{[^'\"`\\${}]*+\}"


_IN_DOUBLE = rf"\"(?>(?:[^\"`\\$]|{_NAME}|{_BRACED})*)\""


_SUM = rf"\$\(\((?>(?:[^'\"`\\$()]|{_NAME}|{_BRACED})*)\)\)"


_WITHOUT_CASE = r"(?![^)]*\bcase\b)"  # whose patterns end in a `)` of their own


_COMMAND = rf"\$\((?!\(){_WITHOUT_CASE}(?>(?:[^'\"`\\$()\#<]|{_NAME}|{_BRACED}|'[^']*+'|{_IN_DOUBLE})*)\)"


_BACKQUOTED = r"`[^`\\'\"]*+`"


_NESTED = rf"{_SUM}|{_COMMAND}|{_BRACED}|{_BACKQUOTED}"


_DOUBLE = rf"\"(?>(?:[^\"`\\$]|\\.|{_NESTED}|\$(?![({{]))*)"


_BY_NAME = r"[<>]&(?![ \t]*(?:[0-9]+|-)(?:[\s;&|()<>]|\Z))"  # bash expands the name of a file after `>&` twice


_UNCLOSED = lazy_regex(rf"'[^']*|{_DOUBLE}", re.DOTALL)


_TOKEN = lazy_regex(
    rf"""
      (?P<word>{MARK})
    | (?P<gap>[ \t\n]+)
    | (?P<continued>\\\n)
    | (?P<rest>(?: \$['\[] | << | \(\( | \[\[ | [$<>(\[]\\\n | {_BY_NAME} ).*)
    | (?P<nested>{_NESTED} | (?<=\w)\[[^\s'"`\\$\[\]]*\])
    | (?P<lost>(?: ` | \$[({{] | (?<=\w)\[ ).*)
    | (?P<escaped>\\.?)
    | (?P<quoted>'[^']*' | {_DOUBLE}")
    | (?P<open>['"].*)
    | (?P<operator>[;&|()<>])
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)


_PLACES = {"word": QuoteContext.WORD, "escaped": QuoteContext.WORD, "quoted": QuoteContext.QUOTED}


_HOLDS_CODE = lazy_regex(r"\$[({]|`")


_ESCAPED_MARK = lazy_regex(rf"(?<!\\)(?:\\\\)*\\{MARK}")


_GLUED_MARK = lazy_regex(rf"(\$[A-Za-z_]\w*){MARK}")


_PLAIN = lazy_regex(r"(?>(?:[^\s'\"`\\$|&;<>()*?\[\]#~{}!]|[ \t]|'[^']*'|\"[^\"`\\$]*\")*)")


_BUILTINS = """
    . : alias bg break cd chdir command continue eval exec exit export fc fg getopts hash jobs kill let local pwd read
    readonly return set shift source time times trap type ulimit umask unalias unset wait
    bind builtin caller compgen complete compopt coproc declare dirs disown enable help history logout mapfile popd
    print pushd readarray select shopt suspend typeset whence
"""


_KEYWORDS = "case do done elif else esac fi for function if in then until while"


_SHELL_WORDS = frozenset((_BUILTINS + _KEYWORDS).split())


_TESTS_OF_ONE = frozenset({"-e", "-f", "-d", "-s", "-n", "-z"})


_TESTS_OF_TWO = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})


_COMMON_FORMAT = lazy_regex(r"(?!-)(?:[^\\%]|%[%s]|\\[nt])+")


def quote_contexts(text: str, names: Sequence[str]) -> tuple[QuoteContext, ...]:
    """Return the context of each mark in a shell's text, in order. `names` name the marks in errors.

    Raise BadValue for an unclosed quote, and if the text before a mark would change its value."""
    found: list[QuoteContext] = []
    position, word_starts = 0, True
    array = 0  # parentheses that are open, from the one that begins an array
    while position < len(text):
        kind, end = _token(text, position, word_starts)
        if array and word_starts and text[position] == "[":
            kind, end = "lost", len(text)  # a subscript, which bash evaluates
        part = text[position:end]
        if kind == "open":
            raise BadValue(
                f"the quote {_shorten_repr(part)} is never closed", hint=f"close it, or write it \\{part[0]}"
            )
        if MARK in part:
            place = _PLACES.get(kind, QuoteContext.NESTED)
            if not part.startswith("'"):
                _check_before_marks(part, names[len(found) :])
            found.extend([place] * part.count(MARK))
        if part == "(" and (array or text[:position].endswith("=")):
            array += 1
        elif part == ")" and array:
            array -= 1
        if kind != "continued":
            word_starts = kind in ("gap", "operator", "comment")
        position = end
    return tuple(found)


def plain_words(text: str) -> list[str] | None:
    """Return the words of a text that needs no shell, or None if a shell has to read it."""
    import shlex

    stripped = text.strip(" \t\n")
    if not _PLAIN.fullmatch(stripped):
        return None
    words = shlex.split(stripped)
    if not words or "=" in words[0] or stripped.startswith("%"):  # nothing; an assignment; one of the shell's jobs
        return None
    return None if _is_builtin(words[0], words[1:]) else words


def _token(text: str, position: int, word_starts: bool) -> tuple[str, int]:
    """Return the kind of the token at `position`, and its end."""
    if word_starts and text[position] == "#":
        end = text.find("\n", position)
        return "comment", len(text) if end < 0 else end
    token = _TOKEN.match(text, position)
    assert token is not None, "the last alternative takes any character"
    kind = token.lastgroup or "plain"
    if kind == "quoted" and token[0][0] == '"' and _HOLDS_CODE.search(token[0]):
        kind = "nested"
    if kind == "open" and not _UNCLOSED.fullmatch(text, position):
        kind = "lost"  # it contains code that cannot be followed, so it may be closed
    return kind, token.end()


def _check_before_marks(part: str, names: Sequence[str]) -> None:
    """Refuse a backslash or a variable name right before a value: they would be read together."""
    if escaped := _ESCAPED_MARK.search(part):
        name = names[part.count(MARK, 0, escaped.end() - 1)]
        raise BadValue(f"a backslash stands before {name}", hint=f"for the text itself write ${name}")
    if part == MARK:
        return
    if glued := _GLUED_MARK.search(part):
        name = names[part.count(MARK, 0, glued.end() - 1)]
        braced = f"${{{glued[1][1:]}}}"
        raise BadValue(f"{glued[1]} and {name} would be read as one name", hint=f"write {braced}{name}")


def _is_builtin(program: str, arguments: Sequence[str]) -> bool:
    """Return whether a shell would run this as a builtin, with its own meaning, instead of the program of that name."""
    if program in _SHELL_WORDS:
        return True
    if program in ("echo", "true", "false"):  # as programs they know options; sh's echo knows backslashes
        return any(argument.startswith("-") or "\\" in argument for argument in arguments)
    if program == "printf":
        return not (arguments and _COMMON_FORMAT.fullmatch(arguments[0]) and MARK not in arguments[0])
    if program == "test":
        return not (
            (len(arguments) == 2 and arguments[0] in _TESTS_OF_ONE)
            or (len(arguments) == 3 and arguments[1] in _TESTS_OF_TWO)
        )
    return False


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
