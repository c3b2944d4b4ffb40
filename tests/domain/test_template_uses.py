"""References of templates to things outside the store."""

from __future__ import annotations

import pytest

from rekindle.domain.changes.template_uses import (
    commands_are_fixed,
    files_in_commands,
    functions_called,
    outer_variables,
)
from rekindle.domain.definition import Each, Step

TEXT = "${env.A} $B ${env.C} $${env.D} ${params.E}"
STEPS = {
    "a line": Step("s", run=TEXT),
    "an argument vector": Step("s", run=("x", TEXT)),
    "args": Step("s", call="m:f", args={"deep": [{"er": TEXT}]}),
    "a pattern": Step("s", run="x", each=Each(glob=TEXT)),
    "items": Step("s", run="x", each=Each(items=("x", {"y": TEXT}))),
    "what finds items": Step("s", run="x", each=Each(run=TEXT)),
    "its args": Step("s", run="x", each=Each(call="m:f", args={"x": TEXT})),
}


@pytest.mark.parametrize("where", STEPS)
def test_variables_count_wherever_they_are_named(where: str) -> None:
    assert outer_variables([Step("other", run="x"), STEPS[where]], {}) == ("A", "C")
    assert outer_variables([STEPS[where]], {"A": "set"}) == ("C",)


def test_a_variable_that_is_made_from_its_own_outer_value_counts() -> None:
    assert outer_variables([Step("s", run="${env.PATH}")], {"PATH": "bin:${env.PATH}", "X": "${env.Y}"}) == (
        "PATH",
        "Y",
    )


def test_a_text_that_cannot_be_read_names_nothing() -> None:
    assert outer_variables([Step("s", run="${env.A} ${parms.x}")], {}) == ()


def test_functions_that_find_items_count_too() -> None:
    steps = [Step("s", call="m:g"), Step("t", call="m:f", each=Each(call="n:items")), Step("u", run="x")]
    assert functions_called([*steps, Step("v", call="m:g")]) == ("m:f", "m:g", "n:items")


def test_files_that_values_name_are_found_in_a_shells_text() -> None:
    text = "cd ${params.folder}; cat ${params.file} | ./${params.program} -x > ${params.out}; python x.py"
    values = {"folder": "a b", "file": "it's.csv", "program": "do it.sh", "out": "o *.txt"}
    found = files_in_commands([Step("s", run=text)], {"params": values}, {}, lambda _: None)
    assert [(one.word, one.role, one.globs) for one in found] == [
        ("a b/it's.csv", "other", ()),
        ("a b/o *.txt", "written", ()),
        ("a b/./do it.sh", "program", ()),
        ("a b/x.py", "program", ()),
    ]


def test_functions_of_rekindle_itself_are_not_code_of_the_workflow() -> None:
    steps = [Step("s", call="rekindle.dialects.fireworks.perform:perform"), Step("t", call="rekindle_tools:f")]
    assert functions_called(steps) == ("rekindle_tools:f",)


@pytest.mark.parametrize(
    ("step", "fixed"),
    [
        (Step("s", run="echo hello"), True),
        (Step("s", run=("echo", "a b")), True),
        (Step("s", call="m:f", args={"x": "${matrix.x}"}), True),
        (Step("s", run="cat ${matrix.x}"), False),
        (Step("s", run=("cat", "${matrix.x}")), False),
        (Step("s", run="cat $FILE"), False),
        (Step("s", run="cat ${FILE}; true"), False),
        (Step("s", run="cat", each=Each(glob="*.csv")), False),
        (Step("s", run="cat 'x"), False),
    ],
)
def test_commands_are_fixed_if_neither_values_nor_variables_are_in_them(step: Step, fixed: bool) -> None:
    assert commands_are_fixed([Step("first", run="true"), step]) is fixed
