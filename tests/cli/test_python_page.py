"""The examples of the page on Python print what the page says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from cli_shell import Shell

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-from-python.md"


def test_the_examples_of_the_page_print_what_it_says(shell: Shell) -> None:
    parsed = doctest.DocTestParser().get_doctest(_examples(), {}, PAGE.name, str(PAGE), 0)
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed = runner.run(parsed, out=printed.append).failed
    assert failed == 0, "".join(printed)
    assert len(parsed.examples) > 20


def _examples() -> str:
    """The examples of the page: without the fences of their blocks, and with marks for empty printed lines. How
    long jobs take varies."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = "\n".join(re.sub(r"^$(?=\n)", "<BLANKLINE>", block, flags=re.MULTILINE) for block in blocks)
    return re.sub(r"(?<=expected: about ).*", "...", text)
