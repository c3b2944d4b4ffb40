"""Each decision record has its context, decision and consequences, and a row in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
MOST_LINES = 50  # half a page, with a table


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_has_its_context_decision_and_consequences(record: Path) -> None:
    labels = re.findall(r"^\*\*(Context|Decision|Consequences)\.\*\*", record.read_text(), flags=re.MULTILINE)
    assert sorted(labels) == ["Consequences", "Context", "Decision"]
    assert len(record.read_text().splitlines()) <= MOST_LINES


def test_the_index_lists_each_record_with_its_title() -> None:
    listed = re.findall(r"^\| \[(.+?)\]\((.+?)\) \|", (FOLDER / "index.md").read_text(), flags=re.MULTILINE)
    titles = {record.name: record.read_text().splitlines()[0].removeprefix("# ") for record in RECORDS}
    assert len(titles) >= 10
    assert {file: title for title, file in listed} == titles
