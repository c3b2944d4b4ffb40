"""`grace:` as a spec writes it, and what is told about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_problems import HEAD, told

from rekindle import Workflow
from rekindle.spec import load

SPEC = """\
name: a
defaults: {grace: 30s}
jobs:
  plain: {run: x}
  own: {run: x, grace: 2m}
  none: {run: x, grace: 0s}
"""


def test_how_long_a_job_has_between_sigterm_and_sigkill_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    assert [template.grace for template in load(path).templates] == [30.0, 120.0, 0.0]
    path.write_text(SPEC.replace("defaults: {grace: 30s}\n", ""))
    assert load(path).templates[0].grace == 2.0
    workflow = Workflow("a", directory=tmp_path)
    workflow.job("b", run="x", grace="1m")
    assert workflow.definition().templates[0].grace == 60.0


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("30", "`grace`: ", "unit"),
        ("[1]", "`grace` cannot be a list", "as in `grace: 30s`: how long after SIGTERM before SIGKILL"),
        ("-1s", "`grace`", ""),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, written: str, message: str, hint: str) -> None:
    (line,) = told(tmp_path, HEAD + f"  a: {{run: x, grace: {written}}}\n")
    assert message in line
    assert hint in line
