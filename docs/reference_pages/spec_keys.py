"""The reference of spec files, from the table of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_pages.markdown import block, code, definitions, escaped
from rekindle.spec.spec_keys import PLACES, keys_of

if TYPE_CHECKING:
    from rekindle.spec.value_schemas import SpecKey


def page() -> str:
    """Return the keys of each mapping of a spec."""
    return "\n\n".join(_place(place, about) for place, about in PLACES.items() if keys_of(place))


def _place(place: str, about: str) -> str:
    rows = [(code(key.name), _key(key)) for key in keys_of(place)]
    return f"(spec-{place})=\n## {about[0].upper()}{about[1:]}\n\n" + definitions(rows)


def _key(key: SpecKey) -> str:
    need = "required" if key.required else f"default: {key.default}"
    return "\n\n".join([f"*{escaped(f'{key.type}; {need}')}*", escaped(key.about), block(key.example, "yaml")])
