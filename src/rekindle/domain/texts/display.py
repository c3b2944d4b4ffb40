r"""Text for people: suggestions, lists of names, values, masked secrets, and bytes that are not UTF-8.

In memory, a byte that is not UTF-8 is a lone surrogate (U+DC80 to U+DCFF), as `os.fsdecode` returns it. In JSON it is
the escape of that surrogate, `\udce9`: see journal.encoding. Users see `\xe9`.

Environment variables with a secret's name are shown as `***`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rekindle.domain.texts.regexes import lazy_regex

_SURROGATE = lazy_regex("[\ud800-\udfff]")


_BYTE = lazy_regex(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")


def escape_surrogates(text: str) -> str:
    """Return a JSON text with each surrogate replaced by its escape."""
    return text if text.isascii() else _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def show_bytes(text: str) -> str:
    r"""Return a text for display: a byte that is not UTF-8 as `\xe9`, any other surrogate as `\ud800`."""
    return text if text.isascii() else _SURROGATE.sub(_show_surrogate, text)


def show_json_bytes(text: str) -> str:
    r"""Return a JSON text for display: the escape of a byte that is not UTF-8 as `\xe9`."""
    return _BYTE.sub(r"\1\\x\2", text) if "\\udc" in text else text


def _show_surrogate(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


NOT_SET = "(not set)"
"""Stands for a missing value, which differs from null."""


_LITERALS = frozenset({"true", "false", "null", "~", ".inf", "-.inf", ".nan"})


_NUMBERS: tuple[Callable[[str], object], ...] = (float, lambda text: int(text, 0))


def format_value(value: Any) -> str:
    """Format a JSON value: `5`, `true`, `null`, `[1, 2]`, `hello`. A text that looks like another value, or has
    invisible ends, is quoted: `"5"`, `"true"`, `""`."""
    import json

    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(value, ensure_ascii=False) if _ambiguous(value) else value


def format_change(before: Any, after: Any, not_set: str | None = None) -> str:
    """Format a change: `1 -> "1"`. `not_set` is the side, "before" or "after", without a value."""
    one = NOT_SET if not_set == "before" else format_value(before)
    other = NOT_SET if not_set == "after" else format_value(after)
    return f"{one} -> {other}"


def _ambiguous(text: str) -> bool:
    if not text or text != text.strip() or text[0] in "\"'[{(" or " -> " in text or text.lower() in _LITERALS:
        return True
    for read in _NUMBERS:
        try:
            read(text)
        except ValueError:
            continue
        return True
    return False


MASK = "***"


_SECRET = lazy_regex(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)


_DOTTED = lazy_regex(r"(?:.*\.)?env\.(.*)", re.DOTALL)


_FIELD = lazy_regex(r"(?:(?:(?:template|modified|(?:params|result)(?:[.\[].*)?)\.)?env\.|matrix\.env_)(.*)", re.DOTALL)


def mask_env(env: Mapping[str, Any]) -> dict[str, Any]:
    """Return environment variables with secrets masked."""
    return {name: MASK if _SECRET.search(name) else text for name, text in env.items()}


def mask_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a job's overrides with secrets masked."""
    env = overrides.get("env")
    return {**overrides, "env": mask_env(env)} if isinstance(env, Mapping) else {**overrides}


def mask_matrix(binding: Mapping[str, Any]) -> dict[str, Any]:
    """Return matrix values with secrets masked. Matrix values `env_NAME` are variables (ReSim tests)."""
    return {name: mask_field(f"matrix.{name}", value) for name, value in binding.items()}


def mask_field(field: str, value: Any) -> Any:
    """Return the value of a field, masked if it is a secret. `field` is a dotted name: a variable is `env.NAME`,
    `template.env.NAME`, `modified.env.NAME`, `params.….env.NAME`, `result.….env.NAME` or `matrix.env_NAME`. None, no
    value, stays."""
    match = _FIELD.fullmatch(field)
    if value is not None and match is not None and _SECRET.search(match[1]):
        return MASK
    name = field.rpartition(".")[2]
    return mask_document({name: value})[name]


def mask_document(value: Any) -> Any:
    """Return a JSON value with secrets masked. Each object under the key `env` is masked at any depth, and so is a
    value under a dotted variable name, as in `{"_set": {"env.API_TOKEN": …}}`."""
    if isinstance(value, list | tuple):
        return [mask_document(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    shown: dict[str, Any] = {}
    for key, inner in value.items():
        dotted = _DOTTED.fullmatch(key) if isinstance(key, str) else None
        if dotted is not None and _SECRET.search(dotted[1]):
            shown[key] = MASK
        elif key == "env" and isinstance(inner, Mapping):
            shown[key] = mask_document(mask_env(inner))
        else:
            shown[key] = mask_document(inner)
    return shown


def mask_json_text(text: str) -> str:
    """Return the text of a JSON document with secrets masked. A text without secrets stays as written."""
    import json

    document = json.loads(text)
    shown = mask_document(document)
    return (
        text if shown == document else escape_surrogates(json.dumps(shown, separators=(",", ":"), ensure_ascii=False))
    )


_CUTOFF = 0.6


_SUGGESTED = 12


_COMPARED = 4_000


def closest_word(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to `word`, or None if none is close. Case only breaks ties."""
    candidates = list(dict.fromkeys(known))
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.casefold(), candidate)
    wanted = word.casefold()
    if wanted in folded:
        return folded[wanted]
    from difflib import get_close_matches

    close = get_close_matches(wanted, _candidates(wanted, folded), n=1, cutoff=_CUTOFF)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: "did you mean `needs`?", else "known: a, b, c", or "" if nothing is known."""
    candidates = list(dict.fromkeys(known))
    if not candidates:
        return ""
    close = closest_word(word, candidates)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(candidates[:_SUGGESTED])
    return f"known: {listed}" + (", …" if len(candidates) > _SUGGESTED else "")


def _candidates(wanted: str, folded: Iterable[str]) -> list[str]:
    """Return the candidates to compare: all of a short list; of a long one, those with a similar beginning, up to a
    bound."""
    candidates = list(folded)
    if len(candidates) <= _COMPARED:
        return candidates
    alike = (c for c in candidates if c[:1] == wanted[:1] and abs(len(c) - len(wanted)) <= max(3, len(wanted) // 3))
    return [candidate for candidate, _ in zip(alike, range(_COMPARED), strict=False)]


_NAMED = 5


def some_names(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def list_names(names: Iterable[str]) -> str:
    """Format the first names: "`a`, `b` and 7 more"."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:_NAMED])
    return shown if len(every) <= _NAMED else f"{shown} and {len(every) - _NAMED} more"
