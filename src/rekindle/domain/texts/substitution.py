"""Substitution of `${…}` in the texts of a spec.

References are the dotted names of the scopes below (`${params.alpha}`, `${steps.fit.result.score}`) and `${item}`. Any
other dollar (`$X`, `${X}`, `${X:-y}`, `$(…)`) belongs to the shell and is left unchanged; `$${` is a literal `${`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import UnknownWord
from rekindle.domain.texts.display import closest_word, did_you_mean
from rekindle.domain.texts.regexes import lazy_regex

if TYPE_CHECKING:
    import re

SCOPES = ("params", "matrix", "inputs", "outputs", "env", "job", "steps", "item")

_DOLLAR = lazy_regex(
    r"\$\$\{|\$\{(?P<scope>[A-Za-z_]\w*)(?P<rest>\.[^{}]*)?\}" + rf"|\$\{{(?P<open>{'|'.join(SCOPES)})\.[^\s{{}}]*"
)
_FORM = "it is written like ${params.alpha}: names of letters, digits, _ and -, with dots between"
_PATH = lazy_regex(r"(?:\.[\w-]+)+")


class Reference(msgspec.Struct, frozen=True):
    """A `${scope.path}` in a text. `offset` counts characters from 0; `text` is the reference as written."""

    scope: str
    path: tuple[str, ...]
    offset: int
    text: str


@lru_cache(maxsize=8192)
def parse_text(text: str) -> tuple[str | Reference, ...]:
    """Split a text into literal pieces and references, in order; adjacent literals are joined.

    Raise UnknownWord for a dotted name of an unknown scope, and for an invalid name in a known scope."""
    pieces: list[str | Reference] = []
    literal: list[str] = []
    end = 0
    for found in _DOLLAR.finditer(text):
        if found["open"]:
            raise UnknownWord(f"{found[0]} has no closing brace of its own", hint=_FORM)
        reference = None if found["scope"] is None else _reference(found)
        literal.append(text[end : found.start()])
        end = found.end()
        if reference is None:
            literal.append("${" if found["scope"] is None else found[0])
            continue
        if any(literal):
            pieces.append("".join(literal))
        literal.clear()
        pieces.append(reference)
    literal.append(text[end:])
    if any(literal):
        pieces.append("".join(literal))
    return tuple(pieces)


def find_references(text: str) -> tuple[Reference, ...]:
    """Return every reference in the text, in order. Raises as `parse_text` does."""
    return tuple(piece for piece in parse_text(text) if isinstance(piece, Reference))


def lookup_reference(reference: Reference, scope: Mapping[str, Any]) -> Any:
    """Return the value of a reference. `scope` maps each scope's name to its values (`item` to the item itself).

    Names select keys of mappings, numbers elements of lists. Raise UnknownWord with the reference and the nearest known
    name. A matrix key that only other jobs have (`include`) is None: loading a spec has checked that one job has it."""
    if reference.scope not in scope:
        raise UnknownWord(f"{reference.text} has no value here", hint=_absent(reference.scope, scope))
    value: Any = scope[reference.scope]
    where = reference.scope
    for name in reference.path:
        if isinstance(value, Mapping):
            if name not in value:
                if where == "matrix":
                    return None
                raise _unknown(reference, name, where, map(str, value))
            value = value[name]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            if not (name.isdecimal() and int(name) < len(value)):
                raise _unknown(reference, name, where, map(str, range(len(value))))
            value = value[int(name)]
        else:
            raise _unknown(reference, name, where, ())
        where = f"{where}.{name}"
    return value


class Words(tuple[str, ...]):
    """Texts that become separate words in a command: the files that match a pattern."""

    __slots__ = ()


def format_word(value: Any) -> str:
    """Format a value: text unchanged, true/false, None as nothing, numbers as in Python, otherwise compact JSON."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return str(value)


def render_text(text: str, scope: Mapping[str, Any]) -> str:
    """Return the text with every reference replaced, without quoting: for paths, environment values and argument
    vectors."""
    return "".join(
        piece if isinstance(piece, str) else format_word(lookup_reference(piece, scope)) for piece in parse_text(text)
    )


def render_value(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return a value with the references in all its texts replaced, also within lists and mappings (keys stay).

    A text that is a single reference becomes the value itself: `"${matrix.seed}"` is the number."""
    if isinstance(value, str):
        pieces = parse_text(value)
        if len(pieces) == 1 and isinstance(pieces[0], Reference):
            return lookup_reference(pieces[0], scope)
        return render_text(value, scope)
    if isinstance(value, Mapping):
        return {key: render_value(inner, scope) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [render_value(inner, scope) for inner in value]
    return value


def _reference(found: re.Match[str]) -> Reference | None:
    """Return the reference of a `${…}`, or None if it belongs to the shell."""
    scope, rest, text = found["scope"], found["rest"], found[0]
    if rest is None:
        return Reference("item", (), found.start(), text) if scope == "item" else None
    import unicodedata

    rest = unicodedata.normalize("NFC", rest)  # as the names in a spec are
    readable = _PATH.fullmatch(rest) is not None
    if scope in SCOPES:
        if not readable:
            raise UnknownWord(f"{text} cannot be read", hint=_FORM)
        return Reference(scope, tuple(rest[1:].split(".")), found.start(), text)
    if not readable:
        return None
    close = closest_word(scope, SCOPES)
    hint = f"did you mean `${{{close}{rest}}}`?" if close else f"known: {', '.join(SCOPES)}"
    raise UnknownWord(f"{text} is not known", hint=f"{hint}; for the text itself write `${text}`")


def _unknown(reference: Reference, name: str, where: str, known: Iterable[str]) -> UnknownWord:
    return UnknownWord(f"{reference.text}: there is no `{name}` in {where}", hint=did_you_mean(name, known))


def _absent(name: str, scope: Mapping[str, Any]) -> str:
    if name == "item":
        return "only a fan-out step has items"
    return f"known here: {', '.join(scope)}" if scope else ""
