"""The reference of the JSON documents: the shapes of texts/json.toml."""

from __future__ import annotations

from typing import Any

from reference_pages.markdown import code, table, texts


def commands() -> str:
    """Return what each command with `--json` prints."""
    rows = texts("json")["commands"].items()
    return table(
        ["command", "document"], [(f"[`{name}`](#command-{name.replace(' ', '-')})", what) for name, what in rows]
    )


def shapes() -> str:
    """Return each shape with its keys."""
    return "\n\n".join(_shape(one) for one in texts("json")["shape"])


def _shape(one: dict[str, Any]) -> str:
    label = one["name"].lower().replace(" ", "-")
    keys = table(["key", "value"], [(code(key), about) for key, about in one["keys"].items()])
    title = one["name"][0].upper() + one["name"][1:]
    return f"(json-{label})=\n## {title}\n\n{one['about']}\n\n{keys}"
