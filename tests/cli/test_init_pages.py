"""The spec on the page about `rekindle init --from` (tests/docs types its commands)."""

from __future__ import annotations

from pathlib import Path

import pytest

from console_blocks import ROOT, blocks
from rekindle.dialects.make.conversion import convert
from rekindle.spec.conversion import write_spec

PAGE = ROOT / "docs/how-to/convert-from-another-tool.md"


def test_the_page_shows_a_part_of_the_converted_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Makefile").write_text(blocks(PAGE, "make")[0])
    (tmp_path / "data").mkdir()
    for city in ("rome", "oslo"):
        (tmp_path / f"data/{city}.csv").touch()
    written = write_spec(convert(Path("Makefile")), tmp_path, None)
    assert blocks(PAGE, "yaml")[0] in written.text
