"""Parse a shell script into simple commands.

This is not a shell: it finds the words of each command, also within lists, pipelines, groups, subshells, loops and
command substitutions, and expands variables with known values. It accepts every text. A part that is unknown before the
script runs is LATER in its word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from rekindle.domain.texts.regexes import lazy_regex

LATER = "\x01"
"""Stands for a part of a word that is unknown before the command runs."""

_PATTERN_MARKS = {"*": "\x02", "?": "\x03", "[": "\x04"}
"""In the words of a script, these stand for the characters that the shell reads as patterns; the characters themselves
are literal."""

_RESULTS = "REKINDLE_INPUTS"  # a variable of each attempt: the words of its value name no files of a command
_JOB_NAME = "REKINDLE_JOB_NAME"  # `train[seed=1]` is no pattern

_MARK = str.maketrans(_PATTERN_MARKS)
_UNMARK = str.maketrans({mark: sign for sign, mark in _PATTERN_MARKS.items()})
_AS_GLOB = str.maketrans({sign: f"[{sign}]" for sign in _PATTERN_MARKS})
_UNQUOTED_PATTERN = lazy_regex(r"[*?]|\[(?=[^\]]+\])")

_MOST_NESTED = 20
_VARIABLE = lazy_regex(
    r"""\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|\{([A-Za-z_]\w*):?-([^{}$`"']*)\}|\{[^{}]*\}|[0-9@*#?$!-])"""
)
_TOKEN = lazy_regex(
    r"""
      (?P<gap>(?:[ \t\r]|\\\n)+)
    | (?P<newline>\n)
    | (?P<sum>\(\((?:[^()]|\([^()]*\))*\)\))
    | (?P<process>[<>]\()
    | (?P<redirect>(?:[0-9]+(?=[<>]))?(?:<<<|<<-?|<&|<>|<|>>|>\||>&|>)|&>>?)
    | (?P<operator>&&|\|\|?|;;?|&|\||;|\(|\))
    | (?P<single>'[^']*'?)
    | (?P<ansi>\$'(?:[^'\\]|\\.)*'?)
    | (?P<double>\$?")
    | (?P<backquoted>`(?:[^`\\]|\\.)*`?)
    | (?P<arithmetic>\$\(\((?:[^()]|\([^()]*\))*\)\))
    | (?P<substitution>\$\()
    | (?P<variable>\$(?=[A-Za-z_0-9@*\#?$!{-]))
    | (?P<escaped>\\.?)
    | (?P<pattern>[*?])
    | (?P<plain>[^\s'"`$\\;&|()<>*?]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_DOUBLE = lazy_regex(r'(?P<end>")|\\(?P<escaped>["\\$`\n])|(?P<plain>[^"\\$`]+|\\)', re.DOTALL)
_NAMES = lazy_regex(r"\$\{?([A-Za-z_]\w*)")


class ScriptListener(Protocol):
    """Receives the elements of a script, in order."""

    variables: dict[str, str]
    """Variables with known values; the listener may change them between commands."""

    def command(self, words: Sequence[str], redirections: Sequence[tuple[str, str]]) -> None:
        """Receive a simple command; a redirection is an operator without its descriptor, and a word."""
        ...

    def enter(self) -> None:
        """Enter a subshell: its changes end with it."""
        ...

    def leave(self) -> None:
        """Leave the subshell."""
        ...


def variables_named(text: str) -> tuple[str, ...]:
    """Return the names of the variables that a text may expand."""
    return tuple(sorted(set(_NAMES.findall(text)))) if "$" in text else ()


def unmark_word(word: str) -> str:
    """Return a word as written, without pattern marks."""
    return word.translate(_UNMARK)


def word_glob(word: str) -> str | None:
    """Return a word as a pattern (see texts.patterns) with literal characters escaped; None if it is no pattern."""
    if unmark_word(word) == word:
        return None
    return word.translate(_AS_GLOB).translate(_UNMARK)


def _marked(text: str) -> str:
    """Mark the pattern characters of unquoted text."""
    return _UNQUOTED_PATTERN.sub(lambda found: found[0].translate(_MARK), text)


def read_script(text: str, listener: ScriptListener) -> None:
    """Pass each simple command of a script to `listener`, with the patterns in its words marked (see `word_glob`)."""
    script = _Script(text, listener, 0)
    while script.at < len(text):
        script.read("")


class _Script:
    """A script being parsed, from `at` on."""

    def __init__(self, text: str, listener: ScriptListener, depth: int) -> None:
        self.text, self.at = text, 0
        self._listener, self._depth = listener, depth
        self._words: list[str] = []
        self._redirections: list[tuple[str, str]] = []
        self._word: str | None = None
        self._target: str | None = None  # the redirection operator whose word comes next
        self._heredocs: list[str] = []

    def read(self, closing: str) -> None:
        """Parse commands up to and including `closing` (")", or "" for the end of the text)."""
        while self.at < len(self.text):
            if self._word is None and self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
                continue
            token = _TOKEN.match(self.text, self.at)
            assert token is not None, "the last alternative matches any character"
            kind, part = token.lastgroup or "plain", token[0]
            if kind == "redirect" and self._word is not None and part[0].isdecimal():
                kind, part = "plain", part.rstrip("<>&|-")  # digits within a word are not a descriptor
            self.at += len(part)
            if kind == "operator" and part == ")":
                self._end_command()
                if closing:
                    return
            else:
                self._take(kind, part)
        self._end_command()

    def _take(self, kind: str, part: str) -> None:
        if kind == "gap":
            self._end_word()
        elif kind in ("newline", "operator", "sum"):
            self._end_command()
            if kind == "newline":
                self._skip_heredocs()
            elif part == "(":
                self._nested()
        elif kind == "redirect":
            self._end_word()
            self._target = part.lstrip("0123456789")
        elif kind in ("substitution", "process"):
            self._nested_in_word()
        elif kind == "backquoted":
            code = re.sub(r"\\([`\\$])", r"\1", part.strip("`"))
            self._inner(_Script(code, self._listener, self._depth + 1), "")
            self._add(LATER)
        elif kind == "double":
            self._double_quoted()
        elif kind == "variable":
            self.at -= 1
            self._expand(quoted=False)
        else:
            self._add(_literal(kind, part))

    def _add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _expand(self, *, quoted: bool) -> None:
        """Expand the variable at this position; outside quotes, its value is split into words."""
        found = _VARIABLE.match(self.text, self.at)
        if found is None:
            self.at += 1
            self._add("$")
            return
        self.at = found.end()
        name = found[1] or found[2] or found[3]
        value = self._listener.variables.get(name or "", found[4] if found[3] else None)
        if value is None or quoted:
            self._add(LATER if value is None else value)
            return
        parts = re.split(r"[ \t\n]+", value)
        first, *others = parts if name == _JOB_NAME else map(_marked, parts)
        if first or self._word is not None:
            self._add(first)
        for other in others:
            self._end_word()
            if other:
                self._add(other)

    def _double_quoted(self) -> None:
        self._add("")
        while self.at < len(self.text):
            found = _IN_DOUBLE.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
                if found["end"]:
                    return
                self._add(found[0] if found["escaped"] is None else found["escaped"].strip("\n"))
                continue
            token = _TOKEN.match(self.text, self.at)
            assert token is not None, "the last alternative matches any character"
            kind, part = token.lastgroup, token[0]
            if kind in ("substitution", "backquoted", "variable"):
                self.at += len(part)
                if kind == "variable":
                    self.at -= 1
                    self._expand(quoted=True)
                else:
                    self._take(kind, part)
            else:
                self.at += len(part) if kind == "arithmetic" else 1
                self._add(LATER if kind == "arithmetic" else self.text[self.at - 1])

    def _nested_in_word(self) -> None:
        """Parse the commands of `$(…)`, `<(…)` or `>(…)`, whose output is unknown."""
        self._nested()
        self._add(LATER)

    def _nested(self) -> None:
        inner = _Script(self.text, self._listener, self._depth + 1)
        inner.at = self.at
        self._inner(inner, ")")
        self.at = inner.at

    def _inner(self, inner: _Script, closing: str) -> None:
        if self._depth >= _MOST_NESTED:
            inner.at = len(inner.text)
            return
        self._listener.enter()
        inner.read(closing)
        self._listener.leave()

    def _end_word(self) -> None:
        if self._word is None:
            return
        word, self._word = self._word, None
        if self._target is None:
            self._words.append(word)
            return
        operator, self._target = self._target, None
        if operator.startswith("<<") and operator != "<<<":
            self._heredocs.append(unmark_word(word))
        else:
            self._redirections.append((operator, word))

    def _end_command(self) -> None:
        self._end_word()
        self._target = None
        words, redirections = self._words, self._redirections
        self._words, self._redirections = [], []
        if words or redirections:
            self._listener.command(words, redirections)

    def _skip_heredocs(self) -> None:
        """Skip the here-documents announced on the previous line."""
        for delimiter in self._heredocs:
            end = re.compile(rf"^\t*{re.escape(delimiter)}$\n?", re.MULTILINE).search(self.text, self.at)
            self.at = end.end() if end else len(self.text)
        self._heredocs = []


def _literal(kind: str, part: str) -> str:
    """Return the value of a part of a word."""
    match kind:
        case "single":
            return part.strip("'")
        case "ansi":
            return part[2:].rstrip("'")
        case "escaped":
            return part[1:]
        case "arithmetic":
            return LATER
    return _marked(part)


def known_variables(text: str, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the set variables that a text may expand and that may hold paths, with their values."""
    named = ((name, environment[name]) for name in variables_named(text) if name in environment)
    return tuple((name, value) for name, value in named if name != _RESULTS and not is_document(value))


def is_document(value: str) -> bool:
    """Return whether the value of a variable is a JSON document: an object or a list, whose words are no paths."""
    if value.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True
