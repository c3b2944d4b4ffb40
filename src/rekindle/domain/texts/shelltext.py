"""How a shell reads a command's text: where values stand in it, and whether it needs a shell at all.

The text comes with MARK where a value will stand. It is read by the POSIX shell's rules as far as they decide where a
mark stands. What cannot be followed with certainty (a here-document, say, or substitutions in one another) is NESTED up
to the end of the text, so that a mistake here can refuse a value, never run it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

from rekindle.domain.errors import BadValue

MARK = "\0"

QUOTING_ALIKE = frozenset({"sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "zsh"})
"""The shells whose quotes are read as those of `/bin/sh`."""


class Place(enum.Enum):
    """What a value stands in, which decides how it is written there."""

    ALONE = enum.auto()  # an argument that no shell reads
    WORD = enum.auto()  # a shell's text, outside quotes
    QUOTED = enum.auto()  # quotes
    NESTED = enum.auto()  # a part of a shell's text that is read in another way, or twice


PlainWord = tuple[tuple[str, Place], ...]
"""A word's pieces, each with what it stood in: ALONE or QUOTED."""

# Constructs that end where they seem to: nothing in them can hide their end. A group that is repeated without going
# back is written `(?>(?:…)*)`: Python before 3.11.5 lets `(?:…)*+` match what it does not match.
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

_UNCLOSED = re.compile(rf"'[^']*|{_DOUBLE}", re.DOTALL)
_TOKEN = re.compile(
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
_PLACES = {"word": Place.WORD, "escaped": Place.WORD, "quoted": Place.QUOTED}
_HOLDS_CODE = re.compile(r"\$[({]|`")
_ESCAPED_MARK = re.compile(rf"(?<!\\)(?:\\\\)*\\{MARK}")
_GLUED_MARK = re.compile(rf"(\$[A-Za-z_]\w*){MARK}")

_PLAIN = re.compile(r"(?>(?:[^\s'\"`\\$|&;<>()*?\[\]#~{}!]|[ \t]|'[^']*'|\"[^\"`\\$]*\")*)")
_PLAIN_WORD = re.compile(r"(?:[^ \t'\"]|'[^']*'|\"[^\"]*\")+")
_PLAIN_PIECE = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<bare>[^'\"]+)")

_BUILTINS = """
    . : alias bg break cd chdir command continue eval exec exit export fc fg getopts hash jobs kill let local pwd read
    readonly return set shift source time times trap type ulimit umask unalias unset wait
    bind builtin caller compgen complete compopt coproc declare dirs disown enable help history logout mapfile popd
    print pushd readarray select shopt suspend typeset whence
"""
_KEYWORDS = "case do done elif else esac fi for function if in then until while"
_SHELLS_OWN = frozenset((_BUILTINS + _KEYWORDS).split())
_TESTS_OF_ONE = frozenset({"-e", "-f", "-d", "-s", "-n", "-z"})
_TESTS_OF_TWO = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_COMMON_FORMAT = re.compile(r"(?!-)(?:[^\\%]|%[%s]|\\[nt])+")


def places(text: str, names: Sequence[str]) -> tuple[Place, ...]:
    """What each mark of a shell's text stands in, in order. `names` are what the marks stand for, for errors.

    Raises BadValue for a quote that is never closed, and where the text before a mark would change its value.
    """
    found: list[Place] = []
    position, word_starts = 0, True
    while position < len(text):
        kind, end = _token(text, position, word_starts)
        part = text[position:end]
        if kind == "open":
            raise BadValue(f"the quote {_shortened(part)} is never closed", hint=f"close it, or write it \\{part[0]}")
        if MARK in part:
            place = _PLACES.get(kind, Place.NESTED)
            if not part.startswith("'"):
                _check_before_marks(part, names[len(found) :])
            found.extend([place] * part.count(MARK))
        if kind != "continued":
            word_starts = kind in ("gap", "operator", "comment")
        position = end
    return tuple(found)


def plain_words(text: str) -> tuple[PlainWord, ...] | None:
    """The words of a text that needs no shell, or None when a shell has to read it."""
    stripped = text.strip(" \t\n")
    if not _PLAIN.fullmatch(stripped):
        return None
    raw = _PLAIN_WORD.findall(stripped)
    if not raw or "=" in raw[0] or raw[0].startswith("%"):  # nothing; an assignment; one of the shell's jobs
        return None
    words = tuple(_plain_pieces(word) for word in raw)
    program, *arguments = ("".join(piece for piece, _ in word) for word in words)
    return None if _is_the_shells_own(program, arguments) else words


def _token(text: str, position: int, word_starts: bool) -> tuple[str, int]:
    """The kind of the token at `position`, and where it ends."""
    if word_starts and text[position] == "#":
        end = text.find("\n", position)
        return "comment", len(text) if end < 0 else end
    token = _TOKEN.match(text, position)
    assert token is not None, "the last alternative takes any character"
    kind = token.lastgroup or "plain"
    if kind == "quoted" and token[0][0] == '"' and _HOLDS_CODE.search(token[0]):
        kind = "nested"
    if kind == "open" and not _UNCLOSED.fullmatch(text, position):
        kind = "lost"  # it holds code that cannot be followed: whether it is closed is the shell's to say
    return kind, token.end()


def _check_before_marks(part: str, names: Sequence[str]) -> None:
    """Refuse a backslash, or a variable's name, right before a value: the two would be read together."""
    if escaped := _ESCAPED_MARK.search(part):
        name = names[part.count(MARK, 0, escaped.end() - 1)]
        raise BadValue(f"a backslash stands before {name}", hint=f"for the text itself write ${name}")
    if part == MARK:
        return
    if glued := _GLUED_MARK.search(part):
        name = names[part.count(MARK, 0, glued.end() - 1)]
        braced = f"${{{glued[1][1:]}}}"
        raise BadValue(f"{glued[1]} and {name} would be read as one name", hint=f"write {braced}{name}")


def _plain_pieces(word: str) -> PlainWord:
    return tuple(
        (piece[piece.lastgroup or "bare"], Place.ALONE if piece.lastgroup == "bare" else Place.QUOTED)
        for piece in _PLAIN_PIECE.finditer(word)
    )


def _is_the_shells_own(program: str, arguments: Sequence[str]) -> bool:
    """Whether a shell would do this itself, in a way of its own, rather than start the program of that name."""
    if program in _SHELLS_OWN:
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


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
