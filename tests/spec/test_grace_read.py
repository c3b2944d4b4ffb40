"""`grace:` of spec files, and the problems of invalid values."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_problems import HEAD, problems_of

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


def test_grace_is_read_from_jobs_and_defaults(tmp_path: Path) -> None:
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
def test_an_invalid_grace_is_reported(tmp_path: Path, written: str, message: str, hint: str) -> None:
    (line,) = problems_of(tmp_path, HEAD + f"  a: {{run: x, grace: {written}}}\n")
    assert message in line
    assert hint in line
