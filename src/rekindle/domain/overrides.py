"""What a rerun changes of a job's parameters, environment and resources: recorded on the attempts as "modified".

What is asked for is an `Overrides`; against a job it becomes a `Modified`, in which every amount is a number and which
is stored as JSON. A job's own template and parameters are never changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rekindle.domain.definition import Resources
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.texts.quantities import Amount, parse_duration, parse_size
from rekindle.domain.texts.substitution import references

_MOST = 2**63
_FACTOR_FORM = "a factor is written like x1.5"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What `--set`, `--env`, `--memory`, `--time` and `--cpus` asked for. Memory is in bytes, time in seconds."""

    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    memory: Amount | None = None
    time: Amount | None = None
    cpus: float | None = None

    @classmethod
    def asked(
        cls,
        params: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        memory: str | None = None,
        time: str | None = None,
        cpus: float | None = None,
    ) -> Overrides:
        """As it is typed: `memory` "8G" or "x1.5", `time` "2h" or "x2". BadValue for what cannot be read or is out of
        range."""
        made = cls(
            dict(params or {}),
            dict(env or {}),
            None if memory is None else _amount("memory", memory),
            None if time is None else _amount("time", time),
            cpus,
        )
        check_overrides(made)
        return made


@dataclass(frozen=True, slots=True)
class Modified:
    """What differs from a job's definition. None: it does not differ."""

    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None  # bytes
    time: float | None = None  # seconds
    cpus: float | None = None

    def over(self, earlier: Modified) -> Modified:
        """These on top of earlier ones."""
        return Modified(
            {**earlier.params, **self.params},
            {**earlier.env, **self.env},
            earlier.memory if self.memory is None else self.memory,
            earlier.time if self.time is None else self.time,
            earlier.cpus if self.cpus is None else self.cpus,
        )

    def resources(self, base: Resources) -> Resources:
        """What an attempt takes that would take `base`."""
        given = {"memory": self.memory, "time": self.time, "cpus": self.cpus}
        return replace(base, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    def text(self) -> str | None:
        """As it is stored: JSON with the keys that are set, sorted; None when none is."""
        given = {
            "params": dict(self.params),
            "env": dict(self.env),
            "memory": self.memory,
            "time": self.time,
            "cpus": self.cpus,
        }
        document = {name: value for name, value in given.items() if value not in ({}, None)}
        return json.dumps(document, sort_keys=True) if document else None

    def without(self, names: Collection[str]) -> Modified:
        """All but these: `params.NAME`, `env.NAME`, `memory`, `time`, `cpus`."""
        return Modified(
            {name: value for name, value in self.params.items() if f"params.{name}" not in names},
            {name: text for name, text in self.env.items() if f"env.{name}" not in names},
            None if "memory" in names else self.memory,
            None if "time" in names else self.time,
            None if "cpus" in names else self.cpus,
        )

    def named(self) -> dict[str, Any]:
        """What is set, by the names that `without` takes."""
        found = {f"params.{name}": value for name, value in self.params.items()}
        found |= {f"env.{name}": text for name, text in self.env.items()}
        own = {"memory": self.memory, "time": self.time, "cpus": self.cpus}
        return found | {name: value for name, value in own.items() if value is not None}


NOTHING = Modified()


def modified_of(text: str | None) -> Modified:
    """What `Modified.text` wrote."""
    return NOTHING if text is None else Modified(**json.loads(text))


def check_overrides(asked: Overrides) -> None:
    """BadValue for a value that no attempt can have."""
    for name, amount in (("memory", asked.memory), ("time", asked.time)):
        if amount is None:
            continue
        if (amount.value is None) == (amount.factor is None):
            raise BadValue(f"{name}: give an amount or a factor, and not both", hint=_FACTOR_FORM)
        _check_range(name, amount.factor if amount.value is None else amount.value)
    if asked.cpus is not None:
        _check_range("cpus", asked.cpus)
    for variable, text in asked.env.items():
        _check_variable(variable, text)
    for param, value in asked.params.items():
        _check_parameter(param, value)


def _amount(name: str, written: str) -> Amount:
    if written[:1] in ("x", "X"):
        try:
            return Amount(factor=float(written[1:]))
        except ValueError:
            raise BadValue(f"{name}: {written!r} is not a factor", hint=_FACTOR_FORM) from None
    try:
        return Amount(value=parse_size(written) if name == "memory" else parse_duration(written))
    except BadValue as bad:
        raise BadValue(f"{name}: {bad.message}", hint=f"{bad.hint}; {_FACTOR_FORM}") from None


def _check_range(name: str, value: float | None) -> None:
    if value is None or not 0 < value < _MOST:  # also what is not a number
        raise BadValue(f"{name} must be above 0 and finite, and is {value:g}", hint="for instance 8G, 2h, x1.5 or 4")


def _check_variable(name: str, text: str) -> None:
    if not name.replace("_", "a").isalnum() or not name.isascii() or name[:1].isdigit():
        raise BadValue(f"{name!r} cannot be the name of a variable", hint="letters, digits and _")
    if name.startswith("REKINDLE_"):
        raise BadValue(f"{name} is rekindle's own", hint="choose another name")
    if "\0" in text:
        raise BadValue(f"the value of {name} holds a NUL character")
    try:
        found = references(text)
    except RekindleError as error:
        raise BadValue(f"the value of {name}: {error.message}", hint=error.hint) from None
    for reference in found:
        if reference.scope not in ("params", "matrix", "job", "env"):
            raise BadValue(f"{reference.text} cannot be used in a variable", hint="params, matrix, job and env can")


def _check_parameter(name: str, value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadValue(f"the parameter {name} cannot be {value!r:.60}: {error}") from None
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise BadValue(f"the parameter {name} is too large: {value}", hint="quote it to have it as a text")
    try:
        found = references(text)
    except RekindleError:
        return  # it is taken as it stands
    if found:
        raise BadValue(f"{found[0].text} is not filled in within a parameter", hint="write its value out")


def multiplied(name: str, amount: Amount | None, has: float | None) -> float | str | None:
    """What an amount means for a job that has so much (None or 0: no limit is set); a text says why nothing."""
    if amount is None or amount.value is not None:
        return None if amount is None else amount.value
    factor = amount.factor or 1.0
    if not has:
        return f"it sets no {name}, and {name} x{factor:g} is a multiple of that: name an amount"
    value = has * factor
    return value if math.isfinite(value) and value < _MOST else f"{name} x{factor:g} of what it has is too much"
