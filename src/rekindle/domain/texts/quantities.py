"""Durations and sizes: parse and format."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.errors import BadValue
from rekindle.domain.texts.regexes import lazy_regex

if TYPE_CHECKING:
    from fractions import Fraction

MOST_INTEGER = (1 << 63) - 1
"""The largest integer that a store holds."""

_MILLISECONDS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_SPOKEN = {
    "ms": r"ms|msecs?|milliseconds?",
    "s": r"s|secs?|seconds?",
    "m": r"m|mins?|minutes?",
    "h": r"h|hrs?|hours?",
    "d": r"d|days?",
    "w": r"w|weeks?",
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_UNITS = lazy_regex(
    r"\s*".join(rf"(?:(?P<{unit}>{_NUMBER})\s*(?:{_SPOKEN[unit]})(?![a-z]))?" for unit in _MILLISECONDS), re.IGNORECASE
)
_ISO = lazy_regex(
    rf"P(?:(?P<w>{_NUMBER})W)?(?:(?P<d>{_NUMBER})D)?"
    rf"(?:T(?=[0-9])(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?",
    re.IGNORECASE,
)
_CLOCK = lazy_regex(
    r"(?:(?P<d>[0-9]+)-(?=[01]?[0-9]:|2[0-3]:))?(?P<h>[0-9]+):(?P<m>[0-5][0-9]):(?P<s>[0-5][0-9](?:\.[0-9]+)?)"
)
_BARE = lazy_regex(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?", re.IGNORECASE)
_DURATIONS = "write it like 200ms, 90s, 10m, 1h30m, 2d, PT1H30M, 04:00:00 or 1-02:00:00"

_POWERS = "BKMGTPE"
_SIZE = lazy_regex(rf"(?P<number>{_NUMBER})\s*(?:(?P<power>[KMGTPE])(?:i?B|i)?|B)", re.IGNORECASE)
_SIZES = "write it like 512M, 8G, 8GiB or 1.5T"


class Amount(msgspec.Struct, frozen=True):
    """A requested resource: `value` itself, or `factor` times the current amount. Exactly one is set."""

    value: float | None = None
    factor: float | None = None


def parse_duration(text: str | int | float) -> float:
    """Return the seconds of a duration with a unit or colons. Raise BadValue otherwise, also for a bare number."""
    from fractions import Fraction

    _refuse_bare(text, "duration", _DURATIONS, "{0}s for seconds or {0}m for minutes")
    written = str(text).strip()
    for form in (_CLOCK, _UNITS, _ISO):
        found = form.fullmatch(written)
        if found and any(found.groups()):
            parts = found.groupdict().items()
            exact = sum((Fraction(number) * _MILLISECONDS[unit] for unit, number in parts if number), Fraction(0))
            return _finite(exact / 1000, written)
    raise BadValue(f"{written!r} is not a duration", hint=_DURATIONS)


def parse_size(text: str | int | float) -> int:
    """Return the bytes of a size with a unit; K, KB and KiB are all 1024. Raise BadValue otherwise, also for a bare
    number."""
    from fractions import Fraction

    _refuse_bare(text, "size", _SIZES, "{0}M for mebibytes or {0}B for bytes")
    written = str(text).strip()
    found = _SIZE.fullmatch(written)
    if not found:
        raise BadValue(f"{written!r} is not a size", hint=_SIZES)
    power = _POWERS.index((found["power"] or "B").upper())
    return int(Fraction(found["number"]) * 1024**power)


def format_duration(seconds: float) -> str:
    """Format seconds: "4 ms", "0.3 s", "42 s", "5m 03s", "1h 05m", "2d 03h"."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.0995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 1_440:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(seconds / 3_600)
    return f"{hours // 24}d {hours % 24:02d}h"


def format_size(size: int) -> str:
    """Format bytes in binary multiples: "512 B", "1.5 MiB", "8.0 GiB"."""
    if size < 0:
        return "-" + format_size(-size)
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for power in _POWERS[1:]:
        amount /= 1024
        if amount < 1023.95 or power == _POWERS[-1]:
            return f"{amount:.1f} {power}iB"
    raise AssertionError("the last power takes every size")


def _refuse_bare(text: str | int | float, what: str, forms: str, suggestion: str) -> None:
    """Raise BadValue for a value without a unit. A YAML number is a number here."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise BadValue(f"{text!r} is not a {what}", hint=forms)
    written = str(text).strip()
    if not _BARE.fullmatch(written):
        return
    if written.startswith("-"):
        raise BadValue(f"a {what} cannot be negative: {written}", hint=forms)
    raise BadValue(f"the {what} {written} has no unit", hint=f"{suggestion.format(written)}; {forms}")


def _finite(seconds: Fraction, written: str) -> float:
    try:
        value = float(seconds)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise BadValue(f"the duration {written} is too long", hint=_DURATIONS)
    return value
