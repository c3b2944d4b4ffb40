"""What differs between two attempts, as text."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from rekindle.domain.changes.differences import NAMED_PREFIX
from rekindle.domain.changes.staleness import OPAQUE_PREFIX
from rekindle.domain.texts.display import format_value
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.presentation import reasons, words

if TYPE_CHECKING:
    from rekindle.domain.changes.differences import Difference

_BYTES = ("max_rss_bytes", "modified.memory", "template.resources.memory", "resources.memory")
_SECONDS = ("seconds", "cpu_seconds", "modified.time", "template.resources.time", "resources.time")
_DIGESTS = ("code.", "inputs.", "outputs.", "needs.", NAMED_PREFIX)
_PARTS = ("environment.interpreter.", "environment.distribution.", "environment.program.")
_COMMAND = lazy_regex(r"template\.steps\..+\.run")
_LEAD = 8  # columns that are kept of the common beginning of two long values


def is_block(one: Difference) -> bool:
    """Return whether a difference is shown as a diff: it has several lines, or is a list of words."""
    if not _COMMAND.fullmatch(one.field) or one.a is None or one.b is None:
        return False
    return any(isinstance(value, list) or "\n" in value for value in (one.a, one.b))


def is_result(one: Difference) -> bool:
    """Return whether a difference is in the results."""
    return one.field.startswith(("result.", "result["))


def field_name(field: str) -> str:
    """Return the name of a field that differs."""
    return reasons.named_file(field.removeprefix(NAMED_PREFIX)) if field.startswith(NAMED_PREFIX) else field


def values(one: Difference, width: int) -> tuple[str, str]:
    """Return both values as text, for `from_difference`. Only digests of outer environment variables are stored."""
    if one.field.startswith("environment.") and not one.field.startswith(_PARTS):
        return ("set" if one.a else "not set", "not set" if not one.b else "differs" if one.a else "set")
    return from_difference(words.one_line(_value(one.field, one.a)), words.one_line(_value(one.field, one.b)), width)


def from_difference(a: str, b: str, width: int) -> tuple[str, str]:
    """Return two texts. If one is longer than `width`, both begin shortly before their first difference, which a cut at
    their ends would hide."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    if alike <= _LEAD + 1 or max(len(a), len(b)) <= width:
        return a, b
    left_out = alike - _LEAD
    return "…" + a[left_out:], "…" + b[left_out:]


def _value(field: str, value: Any) -> str:
    if value is None:
        return "-"
    if field.startswith(_DIGESTS):
        return _digest(str(value))
    if field in _BYTES:
        return format_size(value)
    if field in _SECONDS or (field.startswith("steps.") and field.endswith(".seconds")):
        return words.duration(value)
    if field == "start_step":
        return str(value + 1)  # steps are numbered from 1 in all commands
    return format_value(value)


def _digest(digest: str) -> str:
    if digest.startswith(OPAQUE_PREFIX):
        return f"that of attempt {digest.removeprefix(OPAQUE_PREFIX)}"
    return reasons.short_digest(digest) if digest else "not there"
