"""`on_unknown_failure` and `judge`: how they are written, inherited and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.errors import SpecError
from rekindle.spec import load


def read(folder: Path, defaults: str, job: str) -> object:
    (folder / "spec.yaml").write_text(f"name: s\ndefaults: {{{defaults}}}\njobs:\n  a: {{run: 'true'{job}}}\n")
    [template] = load(folder / "spec.yaml").templates
    return template.on_unknown_failure, template.judge


@pytest.mark.parametrize(
    ("defaults", "job", "found"),
    [
        ("", "", ("continue", None)),
        ("on_unknown_failure: hold, judge: ./judge", "", ("hold", "./judge")),
        (
            "on_unknown_failure: hold, judge: ./judge",
            ", on_unknown_failure: continue, judge: false",
            ("continue", None),
        ),
        ("", ", judge: [python3, judge.py, '7']", ("continue", ("python3", "judge.py", "7"))),
        ("judge: ./one", ", judge: ./another --fast", ("continue", "./another --fast")),
    ],
)
def test_a_job_takes_what_the_defaults_say_unless_it_says_otherwise(
    tmp_path: Path, defaults: str, job: str, found: object
) -> None:
    assert read(tmp_path, defaults, job) == found


@pytest.mark.parametrize(
    ("job", "message", "hint"),
    [
        (", on_unknown_failure: held", "`on_unknown_failure`", "hold"),
        (", on_unknown_failure: true", "`on_unknown_failure`", ""),
        (", judge: true", "`judge` must be a command", "as in `judge: ./judge.py`"),
        (", judge: []", "`judge` names no program", "as in `judge: ./judge.py`"),
        (", judge: {run: x}", "`judge` must be a command", "as in `judge: ./judge.py`"),
        (", judge: ''", "`judge` must be a command", "as in `judge: ./judge.py`"),
        (", judge: './judge ${params.x}'", "${params.x}", "write it out"),
    ],
)
def test_bad_values_are_named_with_a_hint(tmp_path: Path, job: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as refused:
        read(tmp_path, "", job)
    [problem] = refused.value.problems
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line == 4


def test_a_policy_makes_no_result_stale(tmp_path: Path) -> None:
    from rekindle.domain.changes.staleness import FilledTemplate, definition_reasons
    from rekindle.domain.overrides import NO_OVERRIDES

    read(tmp_path, "", "")
    [plain] = load(tmp_path / "spec.yaml").templates
    read(tmp_path, "", ", on_unknown_failure: hold, judge: ./judge")
    [held] = load(tmp_path / "spec.yaml").templates
    then, now = FilledTemplate(plain, {}, {}), FilledTemplate(held, {}, {})
    assert definition_reasons(then, now, NO_OVERRIDES, NO_OVERRIDES) == ()
