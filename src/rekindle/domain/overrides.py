"""Overrides: the changes that a rerun makes to a job's parameters, environment and resources.

A request is an `Overrides`. Applied to a job it becomes an `AppliedOverrides`, in which every amount is a number,
stored as JSON. The job's template and parameters never change; its attempts are recorded as modified."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.texts.quantities import Amount, parse_duration, parse_size
from rekindle.domain.texts.substitution import find_references

if TYPE_CHECKING:
    from datetime import timedelta

    from rekindle.domain.definition import Resources

_MOST = 2**63
_FACTOR_FORM = "a factor is written like x1.5"


class Overrides(msgspec.Struct, frozen=True):
    """Other values for the next attempts of rerun jobs: `--set`, `--env`, `--memory`, `--time` and `--cpus`.

    Args:
        params: Parameters by name, each a JSON value.
        env: Environment variables by name. A value may use `${params.x}`, `${matrix.x}`, `${job.name}` and `${env.X}`.
        memory: A size with a unit, "8G", or a multiple of the current limit, "x1.5". An attribute is an Amount, in
            bytes.
        time: A duration with a unit, "2h" or "1h30m", a timedelta, or a multiple of the current limit, "x2". An
            attribute is an Amount, in seconds.
        cpus: A number of processors.

    Raises:
        BadValue: No attempt can have a value. The error names the value.
    """

    params: Mapping[str, Any] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    memory: Amount | None = None
    time: Amount | None = None
    cpus: float | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            params: Mapping[str, Any] | None = None,
            env: Mapping[str, str] | None = None,
            memory: Amount | str | None = None,
            time: Amount | str | timedelta | None = None,
            cpus: float | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        given: dict[str, Any] = msgspec.structs.asdict(self)
        parsed = {
            "params": _mapping("params", given["params"]),
            "env": _mapping("env", given["env"]),
            "memory": _amount("memory", given["memory"], parse_size),
            "time": _amount("time", given["time"], _seconds),
            "cpus": _number("cpus", given["cpus"]),
        }
        for name, value in parsed.items():
            msgspec.structs.force_setattr(self, name, value)
        _check_overrides(self)


class AppliedOverrides(msgspec.Struct, frozen=True):
    """The differences from a job's definition. None: no difference."""

    params: Mapping[str, Any] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    memory: int | None = None  # bytes
    time: float | None = None  # seconds
    cpus: float | None = None

    def over(self, earlier: AppliedOverrides) -> AppliedOverrides:
        """Return these overrides on top of earlier ones."""
        return AppliedOverrides(
            {**earlier.params, **self.params},
            {**earlier.env, **self.env},
            earlier.memory if self.memory is None else self.memory,
            earlier.time if self.time is None else self.time,
            earlier.cpus if self.cpus is None else self.cpus,
        )

    def resources(self, base: Resources) -> Resources:
        """Return the resources of an attempt whose definition asks for `base`."""
        given = {"memory": self.memory, "time": self.time, "cpus": self.cpus}
        return replace(base, **{name: value for name, value in given.items() if value is not None})

    def text(self) -> str | None:
        """Return the stored form: JSON with the set keys, sorted; None if there are none."""
        given = {
            "params": dict(self.params),
            "env": dict(self.env),
            "memory": self.memory,
            "time": self.time,
            "cpus": self.cpus,
        }
        document = {name: value for name, value in given.items() if value not in ({}, None)}
        import json

        return json.dumps(document, sort_keys=True) if document else None

    def without(self, names: Collection[str]) -> AppliedOverrides:
        """Return the overrides without these names: `params.NAME`, `env.NAME`, `memory`, `time`, `cpus`."""
        return AppliedOverrides(
            {name: value for name, value in self.params.items() if f"params.{name}" not in names},
            {name: text for name, text in self.env.items() if f"env.{name}" not in names},
            None if "memory" in names else self.memory,
            None if "time" in names else self.time,
            None if "cpus" in names else self.cpus,
        )

    def named(self) -> dict[str, Any]:
        """Return the overrides by the names that `without` takes."""
        found = {f"params.{name}": value for name, value in self.params.items()}
        found |= {f"env.{name}": text for name, text in self.env.items()}
        own = {"memory": self.memory, "time": self.time, "cpus": self.cpus}
        return found | {name: value for name, value in own.items() if value is not None}


NO_OVERRIDES = AppliedOverrides()


def decode_overrides(text: str | None) -> AppliedOverrides:
    """Decode the text written by `AppliedOverrides.text`."""
    if text is None:
        return NO_OVERRIDES
    import json

    return AppliedOverrides(**json.loads(text))


def _check_overrides(asked: Overrides) -> None:
    """Raise BadValue for a value that no attempt can have."""
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


def _mapping(name: str, given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadValue(f"{name} must be a mapping of names to values, and is {given!r:.60}", hint=f'{name}={{"a": 1}}')
    return dict(given)


def _amount(name: str, given: object, parse: Callable[[str], float]) -> Amount | None:
    if given is None or isinstance(given, Amount):
        return given
    if isinstance(given, str) and given[:1] in ("x", "X"):
        try:
            return Amount(factor=float(given[1:]))
        except ValueError:
            raise BadValue(f"{name}: {given!r} is not a factor", hint=_FACTOR_FORM) from None
    try:
        return Amount(value=parse(given))  # type: ignore[arg-type]  # raises BadValue for another type
    except BadValue as bad:
        raise BadValue(f"{name}: {bad.message}", hint=f"{bad.hint}; {_FACTOR_FORM}") from None


def _seconds(given: str | timedelta) -> float:
    if hasattr(given, "total_seconds"):  # a timedelta; importing its module here takes time at every start
        seconds: float = given.total_seconds()
        return seconds
    return parse_duration(given)


def _number(name: str, given: object) -> float | None:
    if given is None or type(given) in (int, float):
        return given  # type: ignore[return-value]
    if isinstance(given, str | bytes | bool) or not hasattr(given, "__float__"):
        raise BadValue(f"{name} must be a number, and is {given!r:.60}", hint=f"{name}=4")
    number = float(given)  # a number of another library
    return int(number) if number.is_integer() else number


def _check_range(name: str, value: float | None) -> None:
    if value is None or not 0 < value < _MOST:  # false for NaN too
        raise BadValue(f"{name} must be above 0 and finite, and is {value:g}", hint="for instance 8G, 2h, x1.5 or 4")


def _check_variable(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise BadValue(f"the value of {name} must be a text, and is {text!r:.60}", hint=f"{name}={str(text)!r:.60}")
    if not name.replace("_", "a").isalnum() or not name.isascii() or name[:1].isdigit():
        raise BadValue(f"{name!r} cannot be the name of a variable", hint="letters, digits and _")
    if name.startswith("REKINDLE_"):
        raise BadValue(f"{name} is rekindle's own", hint="choose another name")
    if "\0" in text:
        raise BadValue(f"the value of {name} holds a NUL character")
    try:
        found = find_references(text)
    except RekindleError as error:
        raise BadValue(f"the value of {name}: {error.message}", hint=error.hint) from None
    for reference in found:
        if reference.scope not in ("params", "matrix", "job", "env"):
            raise BadValue(f"{reference.text} cannot be used in a variable", hint="params, matrix, job and env can")


def _check_parameter(name: str, value: Any) -> None:
    if not isinstance(name, str):
        raise BadValue(f"the name of a parameter must be a text, and is {name!r:.60}")
    try:
        import json

        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadValue(f"the parameter {name} cannot be {value!r:.60}: {error}") from None
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise BadValue(f"the parameter {name} is too large: {value}", hint="quote it to have it as a text")
    try:
        found = find_references(text)
    except RekindleError:
        return  # an invalid reference is literal text
    if found:
        raise BadValue(f"{found[0].text} is not filled in within a parameter", hint="write its value out")


def resolve_amount(name: str, amount: Amount | None, has: float | None) -> float | str | None:
    """Return the amount for a job that has `has` now (None or 0: no limit), or why there is none."""
    if amount is None or amount.value is not None:
        return None if amount is None else amount.value
    factor = amount.factor or 1.0
    if not has:
        return f"it sets no {name}, and {name} x{factor:g} is a multiple of that: name an amount"
    value = has * factor
    return value if math.isfinite(value) and value < _MOST else f"{name} x{factor:g} of what it has is too much"


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Return `NAME=VALUE` words as a mapping. Raise BadValue for any other word."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadValue(f"{option} takes NAME=VALUE, not {text!r}", hint=f"for instance {option} alpha=0.2")
        found[normalize_name(key)] = value
    return found
