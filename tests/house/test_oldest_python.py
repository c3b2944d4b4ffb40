"""Bugs of the oldest supported Python are avoided."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "rekindle"


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Before Python 3.11.5 (Debian 12 has 3.11.2), a possessively repeated group matches wrong texts."""
    group = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+")
    found = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in sorted(SOURCE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if group.search(line) and not line.lstrip().startswith("#")
    ]
    assert found == []
