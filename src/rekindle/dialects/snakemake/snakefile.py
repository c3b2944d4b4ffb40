"""Split a Snakefile into directives, rules with their sections, and Python statements, with Python's tokenizer."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from rekindle.domain.errors import SpecError, SpecProblem


class Section(msgspec.Struct, frozen=True):
    """The text after `input:` of a rule, or after a directive such as `configfile:`."""

    line: int
    text: str


class SnakeRule(msgspec.Struct):
    """A rule, with its sections by name."""

    name: str
    line: int
    sections: dict[str, Section] = msgspec.field(default_factory=dict)
    checkpoint: bool = False


class Directive(msgspec.Struct, frozen=True):
    """A directive at the top level, such as `include:`."""

    name: str
    section: Section


class PythonCode(msgspec.Struct, frozen=True):
    """A Python statement at the top level."""

    line: int
    text: str


Statement = SnakeRule | Directive | PythonCode

_DIRECTIVES = frozenset(
    {"configfile", "include", "workdir", "localrules", "ruleorder", "wildcard_constraints", "container", "singularity"}
    | {"containerized", "onstart", "onsuccess", "onerror", "module", "report", "envvars", "pepfile", "pepschema"}
    | {"scattergather", "storage", "resource_scopes", "inputflags", "outputflags", "envmodules", "conda", "pathvars"}
)
_Token = tokenize.TokenInfo
_LAYOUT = (tokenize.NL, tokenize.COMMENT)


def read_snakefile(text: str, path: Path) -> list[Statement]:
    """Return the statements of a Snakefile. Raise SpecError if it cannot be tokenized."""
    try:
        tokens = [one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type not in _LAYOUT]
    except (tokenize.TokenError, SyntaxError) as error:
        line = next((part[0] for part in error.args if isinstance(part, tuple) and isinstance(part[0], int)), 0)
        raise SpecError(str(path), [SpecProblem(line, 1 if line else 0, f"not a Snakefile: {error.args[0]}")]) from None
    lines = text.splitlines(keepends=True)
    return [_statement(one, lines) for one in _statements(tokens)]


def _statements(tokens: list[_Token]) -> Iterator[list[_Token]]:
    """Yield the tokens of each statement at one level of indentation, with the indented block that follows."""
    current: list[_Token] = []
    depth = 0
    ended = False
    for token in tokens:
        if token.type == tokenize.ENDMARKER:
            break
        if ended and not depth and token.type not in (tokenize.INDENT, tokenize.DEDENT):
            yield current
            current, ended = [], False
        current.append(token)
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        ended = ended or token.type == tokenize.NEWLINE
    if any(token.type not in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT) for token in current):
        yield current


def _statement(tokens: list[_Token], lines: list[str]) -> Statement:
    words = [token.string for token in tokens[:3]]
    line = tokens[0].start[0]
    if words[0] in ("rule", "checkpoint") and ":" in words[1:3]:
        name = words[1] if words[1] != ":" else f"rule-{line}"
        rule = SnakeRule(name, line, checkpoint=words[0] == "checkpoint")
        body = tokens[words.index(":") + 1 :]
        for one in _statements(_block(body)):
            if len(one) > 1 and one[0].type == tokenize.NAME and one[1].string == ":":
                rule.sections[one[0].string] = Section(one[0].start[0], _source(one[2:], lines))
        return rule
    if words[0] in _DIRECTIVES and words[1] == ":":
        return Directive(words[0], Section(line, _source(tokens[2:], lines)))
    if words[0] == "use" and words[1] == "rule":
        return Directive("use rule", Section(line, _source(tokens[2:], lines)))
    return PythonCode(line, _source(tokens, lines))


def _block(tokens: list[_Token]) -> list[_Token]:
    """Return the tokens within the first indentation; those of one line, if there is none."""
    start = next((at for at, token in enumerate(tokens) if token.type == tokenize.INDENT), None)
    return tokens if start is None else tokens[start + 1 : -1]


def _source(tokens: list[_Token], lines: list[str]) -> str:
    """Return the text from the first token to the last."""
    real = [one for one in tokens if one.type not in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)]
    if not real:
        return ""
    (first, column), (last, end) = real[0].start, real[-1].end
    if first == last:
        return lines[first - 1][column:end]
    return "".join([lines[first - 1][column:], *lines[first : last - 1], lines[last - 1][:end]])


def wildcard_names(pattern: str) -> list[str]:
    """Return the names of the wildcards of a path, in order."""
    return list(dict.fromkeys(name for name, _ in _WILDCARD.findall(pattern)))


_WILDCARD = re.compile(r"\{\s*(\w+)\s*(?:,\s*((?:[^{}]|\{\d+(?:,\d+)?\})+))?\}")


def compile_path(pattern: str, constraints: dict[str, str]) -> re.Pattern[str]:
    """Return the regular expression of a path with wildcards."""
    pieces, seen, at = [], set[str](), 0
    for found in _WILDCARD.finditer(pattern):
        pieces.append(re.escape(pattern[at : found.start()]))
        name, own = found[1], found[2]
        pieces.append(
            f"(?P={name})" if name in seen else f"(?P<{name}>{(own or constraints.get(name) or '.+').strip()})"
        )
        seen.add(name)
        at = found.end()
    return re.compile("".join([*pieces, re.escape(pattern[at:])]))


def fill_known(pattern: str, wildcards: Mapping[str, str]) -> str:
    """Return a path with the wildcards replaced that have a value."""
    return _WILDCARD.sub(lambda found: wildcards.get(found[1], found[0]), pattern)


def fill_path(pattern: str, wildcards: Mapping[str, str]) -> str:
    """Return a path with all wildcards replaced. Raise KeyError for an unknown one."""
    return _WILDCARD.sub(lambda found: wildcards[found[1]], pattern).replace("{{", "{").replace("}}", "}")
