"""The index of the how-to guides has each page in one group, with the question that the page answers."""

from __future__ import annotations

import re
from pathlib import Path

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
GROUP = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^- \[[^\]]+\]\(([\w-]+)\.md\): [A-Z][^?]*\?$", re.MULTILINE)
TREE = re.compile(r"^```\{toctree\}\n:hidden:\n\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_each_page_is_in_one_group_with_its_question() -> None:
    groups = GROUP.findall((GUIDES / "index.md").read_text())
    listed = [page for _, text in groups for page in ROW.findall(text)]
    assert sorted(listed) == sorted(page.stem for page in GUIDES.glob("*.md") if page.stem != "index")


def test_each_group_lists_the_same_pages_in_the_side_bar() -> None:
    for group, text in GROUP.findall((GUIDES / "index.md").read_text()):
        trees = TREE.findall(text)
        assert len(trees) == 1, group
        assert trees[0].split() == ROW.findall(text), group
