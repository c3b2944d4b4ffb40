"""Variables and functions of make, expanded without running anything: `$(shell …)` is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

DEFAULTS = {
    "CC": "cc",
    "CXX": "g++",
    "CPP": "$(CC) -E",
    "FC": "f77",
    "LD": "ld",
    "AS": "as",
    "AR": "ar",
    "ARFLAGS": "-rv",
    "RM": "rm -f",
    "MAKE": "make",
    "SHELL": "/bin/sh",
    "MAKEFLAGS": "",
    "LEX": "lex",
    "YACC": "yacc",
}
"""make's own variables that Makefiles use."""

_MOST_DEPTH = 100
_PARENTHESES = {"(": ")", "{": "}"}


class NotStatic(Exception):
    """A text that only make could expand, with the reason."""


class Variable(msgspec.Struct):
    """A variable. `simple`: its value is expanded already. `problem`: why its value is not known."""

    value: str
    simple: bool = False
    problem: str = ""


class Variables:
    """The variables of a Makefile. Paths are relative to `folder`. `environment` has the values of undefined ones;
    `from_environment` collects those that were used."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.from_environment: dict[str, str] = {}
        self.known = {name: Variable(value) for name, value in DEFAULTS.items()}
        self.known["CURDIR"] = Variable(str(folder), simple=True)

    def assign(self, name: str, operator: str, text: str) -> None:
        """Set a variable, as `name operator text` does."""
        old = self.known.get(name)
        if operator == "?=" and (old is not None or name in self.environment):
            return
        if operator == "!=":
            self.known[name] = Variable("", problem=f"$({name}) is what a command prints")
        elif operator in (":=", "::=", ":::=") or (operator == "+=" and old is not None and old.simple):
            try:
                value = self.expand(text)
            except NotStatic as why:
                self.known[name] = Variable("", problem=str(why))
                return
            if operator == "+=" and old is not None:
                value = f"{old.value} {value}".strip()
                self.known[name] = Variable(value, simple=True, problem=old.problem)
            else:
                self.known[name] = Variable(value, simple=True)
        elif operator == "+=" and old is not None:
            self.known[name] = Variable(f"{old.value} {text}".strip(), problem=old.problem)
        else:
            self.known[name] = Variable(text)

    def expand(self, text: str, scope: Mapping[str, str] | None = None, depth: int = 0) -> str:
        """Return the text with all references replaced. `scope`: automatic variables and arguments. Raise NotStatic."""
        if depth > _MOST_DEPTH:
            raise NotStatic("a variable refers to itself")
        pieces = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            pieces.append(text[at:dollar])
            following = text[dollar + 1 : dollar + 2]
            if following in _PARENTHESES:
                end = _closing(text, dollar + 1)
                pieces.append(self._reference(text[dollar + 2 : end], scope or {}, depth + 1))
                at = end + 1
            else:
                pieces.append("$" if following == "$" else self._value(following, scope or {}, depth + 1))
                at = dollar + 2
        return "".join([*pieces, text[at:]])

    def _reference(self, inner: str, scope: Mapping[str, str], depth: int) -> str:
        function = re.match(r"([a-z-]+)[ \t]+", inner)
        if function and function[1] in _FUNCTIONS:
            return _FUNCTIONS[function[1]](self, split_arguments(inner[function.end() :]), scope, depth)
        if function and function[1] in _REFUSED:
            raise NotStatic(f"$({function[1]} …) is not evaluated")
        name = self.expand(inner, scope, depth)
        change = re.match(r"([^:#=\s]+):(.*?)=(.*)", name, flags=re.DOTALL)
        if change and change[1] not in self.known:
            change = change if change[1] in scope or change[1] in self.environment else None
        if change:
            old, new = (one if "%" in change[2] else f"%{one}" for one in (change[2], change[3]))
            return _patsubst(old, new, self._value(change[1], scope, depth))
        return self._value(name, scope, depth)

    def _value(self, name: str, scope: Mapping[str, str], depth: int) -> str:
        if name in scope:
            return scope[name]
        if len(name) == 2 and name[1] in "DF" and name[0] in scope:
            parts = [_split(word) for word in scope[name[0]].split()]
            return " ".join(
                (folder.rstrip("/") or ("/" if folder else ".")) if name[1] == "D" else base for folder, base in parts
            )
        found = self.known.get(name)
        if found is None:
            if name in self.environment:
                self.from_environment[name] = self.environment[name]
            return self.environment.get(name, "")
        if found.problem:
            raise NotStatic(found.problem)
        return found.value if found.simple else self.expand(found.value, scope, depth + 1)


def _closing(text: str, opening: int) -> int:
    """Return the position of the parenthesis that closes the one at `opening`."""
    start, end = text[opening], _PARENTHESES[text[opening]]
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == start) - (text[at] == end)
        if not depth:
            return at
    raise NotStatic(f"a reference is not closed: {text[opening - 1 :]:.40}")


def split_arguments(text: str) -> list[str]:
    """Split the arguments of a function, or the sides of a condition, at commas that are not within parentheses."""
    found, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "({") - (character in ")}")
        if character == "," and not depth:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def _split(word: str) -> tuple[str, str]:
    """Split a path into its folder, with the slash, and its name."""
    folder, slash, base = word.rpartition("/")
    return folder + slash, base


def match_pattern(pattern: str, word: str) -> str | None:
    """Return the text that `%` stands for, "" for an equal word without `%`; None if the word does not match."""
    before, percent, after = pattern.partition("%")
    if not percent:
        return "" if pattern == word else None
    fits = len(word) >= len(before) + len(after) and word.startswith(before) and word.endswith(after)
    return word[len(before) : len(word) - len(after)] if fits else None


def _patsubst(pattern: str, replacement: str, text: str) -> str:
    words = []
    for word in text.split():
        stem = match_pattern(pattern, word)
        words.append(word if stem is None else replacement.replace("%", stem, 1) if "%" in pattern else replacement)
    return " ".join(words)


Function = Callable[[Variables, Sequence[str], Mapping[str, str], int], str]


def _plain(compute: Callable[..., str], fewest: int = 1) -> Function:
    """Return a function whose arguments are all expanded first. The last one takes the remaining commas."""

    def function(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
        if len(given) < fewest:
            raise NotStatic("a function has too few arguments")
        merged = [*given[: fewest - 1], ",".join(given[fewest - 1 :])]
        return compute(*(variables.expand(one, scope, depth) for one in merged))

    return function


def _per_word(compute: Callable[[str], str]) -> Function:
    return _plain(lambda text: " ".join(filter(None, map(compute, text.split()))))


def _filter(patterns: str, text: str, *, keep: bool) -> str:
    def fits(word: str) -> bool:
        return any(match_pattern(one, word) is not None for one in patterns.split())

    return " ".join(word for word in text.split() if fits(word) is keep)


def _wildcard(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    found: list[str] = []
    for pattern in variables.expand(",".join(given), scope, depth).split():
        if not re.search(r"[*?\[]", pattern):
            found += [pattern] if (variables.folder / pattern).exists() else []
            continue
        base = Path(pattern).anchor or variables.folder
        relative = pattern.removeprefix("/") if pattern.startswith("/") else pattern
        matches = sorted(Path(base).glob(relative))
        prefix = "./" if pattern.startswith("./") else ""
        found += [prefix + (str(one) if pattern.startswith("/") else str(one.relative_to(base))) for one in matches]
    return " ".join(found)


def _foreach(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    if len(given) < 3:
        raise NotStatic("$(foreach …) has too few arguments")
    name = variables.expand(given[0], scope, depth).strip()
    words = variables.expand(given[1], scope, depth).split()
    return " ".join(variables.expand(",".join(given[2:]), {**scope, name: word}, depth) for word in words)


def _if(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    chosen = given[1:2] if variables.expand(given[0].strip(), scope, depth) else given[2:]
    return variables.expand(",".join(chosen), scope, depth)


def _or(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    return next(filter(None, (variables.expand(one.strip(), scope, depth) for one in given)), "")


def _and(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    values = [variables.expand(one.strip(), scope, depth) for one in given]
    return values[-1] if all(values) else ""


def _call(variables: Variables, given: Sequence[str], scope: Mapping[str, str], depth: int) -> str:
    name, *values = (variables.expand(one, scope, depth) for one in given)
    arguments = {str(number): value for number, value in enumerate(values, 1)}
    found = variables.known.get(name.strip())
    if found is None:
        return ""
    if found.problem:
        raise NotStatic(found.problem)
    return variables.expand(found.value, {**scope, **arguments, "0": name.strip()}, depth)


def _word(number: str, text: str) -> str:
    words = text.split()
    return words[int(number) - 1] if number.strip().isdecimal() and 0 < int(number) <= len(words) else ""


def _wordlist(first: str, last: str, text: str) -> str:
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise NotStatic("$(wordlist …) needs two numbers")
    return " ".join(text.split()[int(first) - 1 : int(last)])


def _join(first: str, second: str) -> str:
    left, right = first.split(), second.split()
    pairs = range(max(len(left), len(right)))
    return " ".join("".join([*left[at : at + 1], *right[at : at + 1]]) for at in pairs)


_REFUSED = ("shell", "eval", "file", "guile", "error", "origin", "flavor", "value", "realpath")
_FUNCTIONS: dict[str, Function] = {
    "subst": _plain(lambda old, new, text: text.replace(old, new), 3),
    "patsubst": _plain(lambda old, new, text: _patsubst(old.strip(), new.strip(), text), 3),
    "strip": _plain(lambda text: " ".join(text.split())),
    "findstring": _plain(lambda part, text: part if part in text else "", 2),
    "filter": _plain(lambda patterns, text: _filter(patterns, text, keep=True), 2),
    "filter-out": _plain(lambda patterns, text: _filter(patterns, text, keep=False), 2),
    "sort": _plain(lambda text: " ".join(sorted(set(text.split())))),
    "word": _plain(_word, 2),
    "words": _plain(lambda text: str(len(text.split()))),
    "wordlist": _plain(_wordlist, 3),
    "firstword": _plain(lambda text: _word("1", text)),
    "lastword": _plain(lambda text: "".join(text.split()[-1:])),
    "dir": _per_word(lambda word: _split(word)[0] or "./"),
    "notdir": _per_word(lambda word: _split(word)[1]),
    "suffix": _per_word(lambda word: Path(word).suffix),
    "basename": _per_word(lambda word: word.removesuffix(Path(word).suffix) if Path(word).suffix else word),
    "addsuffix": _plain(lambda suffix, text: " ".join(word + suffix for word in text.split()), 2),
    "addprefix": _plain(lambda prefix, text: " ".join(prefix + word for word in text.split()), 2),
    "join": _plain(_join, 2),
    "abspath": lambda variables, given, scope, depth: " ".join(
        str((variables.folder / word).absolute()) for word in variables.expand(",".join(given), scope, depth).split()
    ),
    "info": _plain(lambda _: ""),
    "warning": _plain(lambda _: ""),
    "wildcard": _wildcard,
    "foreach": _foreach,
    "if": _if,
    "or": _or,
    "and": _and,
    "call": _call,
}
