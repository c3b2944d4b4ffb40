"""Each requirement on docs/explanation/security.md names one test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text()
FEWEST_ROWS = 50


def rows() -> list[list[str]]:
    """The cells of the rows of the table of requirements."""
    table = PAGE.partition("| ASVS | requirement |")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)]


@cache
def defined_in(file: str) -> frozenset[str]:
    """The tests that a file defines."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_each_row_names_one_test_that_exists() -> None:
    found = rows()
    assert len(found) >= FEWEST_ROWS
    wrong = []
    for cells in found:
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", cells[-1])
        if len(cells) != 4 or named is None or named[2] not in defined_in(named[1]):
            wrong.append(cells)
    assert wrong == []


def test_rows_are_in_the_order_of_the_standard_and_each_is_there_once() -> None:
    numbers = [tuple(int(part) for part in cells[0].split(".")) for cells in rows()]
    assert numbers == sorted(set(numbers))


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    from rekindle.store.predicates import SCAN_SECONDS
    from rekindle.web import access, api_bodies, connections, live, security

    limits = PAGE.partition("## Limits")[2].partition("##")[0]
    for value in (
        f"{connections.LONGEST_HEAD >> 10} KiB, {connections.HEAD_SECONDS:g} s",
        f"{security.LONGEST_TARGET >> 10} KiB",
        f"{security.LARGEST_BODY >> 20} MiB for the API, {security.LARGEST_FORM >> 20} MiB for forms",
        f"{security.BODY_SECONDS:g} s",
        f"{connections.MOST_CONNECTIONS}, {live.MOST_STREAMS}",
        f"{access.SESSION_SECONDS / 3600:g} hours",
        f"{access.LONGEST_SESSION_SECONDS / 86400:g} days",
        f"{access.MOST_SESSIONS:,}",
        f"{api_bodies.MOST_ROWS:,}, {api_bodies.MOST_LOG_BYTES >> 20} MiB",
        f"{SCAN_SECONDS:g} s for all",
    ):
        assert value in limits, value
