"""How the code that an attempt ran, and the environment that it ran in, differ from what they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rekindle.domain.changes.prints import ABSENT, ENVIRONMENT, METHOD, WHOLE, Part
from rekindle.domain.rerunning.rerun import Reason, ReasonKind

ON_IMPORT = "<module>"
"""The name, in reasons, of the statements that act when a module is imported."""


def environment_of(recorded: Mapping[str, str]) -> dict[Part, str]:
    """Return the parts of the environment in a mapping."""
    return {
        Part(*key.removeprefix(ENVIRONMENT).split(" ", 1)): value
        for key, value in recorded.items()
        if key.startswith(ENVIRONMENT)
    }


def other_code(then: Mapping[str, str], now: Mapping[str, str]) -> list[Reason]:
    """Return CODE reasons: definitions that differ, and modules where these cannot be compared."""
    return [Reason(ReasonKind.CODE, detail) for detail in _differing(then, now)]


def code_values(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what differs between two recordings of code, by `module` or `module:name`, with the digests of both."""
    sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for detail in _differing(then, now):
        label = ":".join(filter(None, (detail["module"], detail.get("name"))))
        for side, found in zip(sides, ("before", "after"), strict=True):
            if detail[found] is not None:
                side[label] = detail[found]
    return sides


def other_parts(sides: Mapping[Part, tuple[str, str]]) -> list[Reason]:
    """Return ENVIRONMENT reasons for the parts whose values, then and now, differ."""
    return [
        Reason(
            ReasonKind.ENVIRONMENT,
            {"part": part.kind, "name": part.name, "before": before or None, "after": after or None},
        )
        for part, (before, after) in sides.items()
        if before != after
    ]


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    before, after = _files(then), _files(now)
    if then.get(METHOD) != now.get(METHOD) or METHOD not in then:
        yield from (
            {"module": module, **_sides(before.get(module), after.get(module))}
            for module in sorted({*before, *after})
            if before.get(module) != after.get(module)
        )
        return
    one, other = _definitions(then), _definitions(now)
    for module in sorted({*one, *other, *(name for name, digest in (*before.items(), *after.items()) if not digest)}):
        here, there = one.get(module, {}), other.get(module, {})
        because = there.get(WHOLE) or here.get(WHOLE)
        missing = ABSENT in (before.get(module), after.get(module))
        if because is None and not missing:
            for name in sorted({*here, *there}):
                if here.get(name) != there.get(name):
                    yield {"module": module, "name": name or ON_IMPORT, **_sides(here.get(name), there.get(name))}
        elif before.get(module) != after.get(module):
            whole = {"whole": True, "because": because} if because else {}
            yield {"module": module, **whole, **_sides(before.get(module), after.get(module))}


def _sides(before: str | None, after: str | None) -> dict[str, str | None]:
    return {"before": before or None, "after": after or None}


def _files(recorded: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in recorded.items() if ":" not in key and not key.startswith(ENVIRONMENT)}


def _definitions(recorded: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, value in recorded.items():
        module, colon, name = key.partition(":")
        if colon and module and not key.startswith(ENVIRONMENT):
            found.setdefault(module, {})[name] = value
    return found
