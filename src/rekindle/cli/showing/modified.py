"""What a rerun has modified, in words."""

from __future__ import annotations

from typing import Any

from rekindle.cli.showing import drawing
from rekindle.domain.overrides import modified_of
from rekindle.domain.rerunning.rerun import Change
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.secrets import masked
from rekindle.domain.texts.values import value_text


def change(one: Change) -> str:
    """`memory 512.0 MiB -> 1.0 GiB`, `alpha 0.1 -> 0.2`."""
    kind, _, name = one.name.partition(".")
    return f"{_called(kind, name)} {_value(kind, one.before)} -> {_value(kind, one.after)}"


def modifications(overrides: str | None) -> str:
    """`alpha=0.2, memory=1.0 GiB`; "" for what is as it is defined."""
    found = modified_of(overrides)
    parts = [("params", name, value) for name, value in found.params.items()]
    parts += [("env", name, text) for name, text in masked(found.env).items()]
    parts += [(kind, "", getattr(found, kind)) for kind in ("memory", "time", "cpus")]
    return ", ".join(
        f"{_called(kind, name)}={_value(kind, value)}" for kind, name, value in parts if kind == "params" or value
    )


def _called(kind: str, name: str) -> str:
    return {"params": name, "env": f"${name}"}.get(kind, kind)


def _value(kind: str, value: Any) -> str:
    if value is None:
        return "null" if kind == "params" else "none"
    if kind == "memory":
        return format_size(int(value))
    if kind == "time":
        return drawing.lasting(value)
    if kind == "cpus":
        return f"{value:g}"
    return drawing.cut(drawing.flat(value_text(value) if kind == "params" else value), 60)
