"""Durations as Go writes them."""

from __future__ import annotations

import re
from fractions import Fraction

from rekindle.domain.errors import BadValue

_SECONDS = {
    "ns": Fraction(1, 1_000_000_000),
    "us": Fraction(1, 1_000_000),
    "µs": Fraction(1, 1_000_000),  # micro sign
    "μs": Fraction(1, 1_000_000),  # Greek mu
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_HOW = "as Go writes it: 30s, 1h30m, 1.5h, 200ms; units are ns, us, ms, s, m and h"
_MOST = Fraction(2**63 - 1, 1_000_000_000)


def parse_go_duration(option: str, text: str, *, above_zero: bool = False) -> float:
    """Seconds of a duration as `time.ParseDuration` reads it. BadValue for what that refuses, for a negative one, and
    with `above_zero` for none."""
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    seconds = _sum(rest)
    if seconds is None:
        raise BadValue(f"{option}: {text!r:.60} is not a duration", hint=_HOW)
    if seconds > _MOST:
        raise BadValue(f"{option}: {text!r:.60} is too long", hint="292 years are the most")
    if sign == "-" and seconds:
        raise BadValue(f"{option} {text}: it cannot be negative", hint=_HOW)
    if above_zero and not seconds:
        raise BadValue(f"{option} {text}: it has to be more than nothing", hint=f"{option} 30s")
    return float(seconds)


def _sum(text: str) -> Fraction | None:
    if text == "0":
        return Fraction(0)
    at, seconds = 0, Fraction(0)
    while found := _PART.match(text, at):
        seconds += Fraction(found["number"].removesuffix(".")) * _SECONDS[found["unit"]]
        at = found.end()
    return seconds if at and at == len(text) else None
