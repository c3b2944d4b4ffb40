"""MyST text: tables, definition lists, and the texts of the reference that are not in the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_TEXTS = Path(__file__).parent / "texts"
_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([\\*_<>\[\]{}$#|~])")


def texts(name: str) -> dict[str, Any]:
    """Return `texts/NAME.toml`."""
    return tomllib.loads((_TEXTS / f"{name}.toml").read_text())


def code(text: str) -> str:
    """Return a text as code."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def escaped(text: str) -> str:
    """Return a plain text so that MyST shows it as it is, except that `code` stays code."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\1", part) for part in parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Pipes in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in line) + " |" for line in lines)


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Return a definition list."""
    return "\n\n".join(f"{term}\n: {text.replace(chr(10), chr(10) + '  ')}" for term, text in rows)


def block(text: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"
