"""`${…}`: references, their values, and dollars that belong to the shell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import UnknownWord
from rekindle.domain.texts.substitution import (
    Reference,
    find_references,
    format_word,
    lookup_reference,
    parse_text,
    render_text,
    render_value,
)

SCOPE: dict[str, Any] = {
    "params": {"alpha": 0.1, "deep": {"list": [10, {"x": True}]}, "n-1": 1},
    "matrix": {"seed": 3, "kind": "svm"},
    "job": {"name": "train[alpha=0.1,seed=0]"},
    "steps": {"fit": {"result": {"score": 0.5}}},
    "item": "x; touch owned",
}


def test_a_text_is_pieces_and_references_with_their_places() -> None:
    assert parse_text("a ${params.alpha}${item}") == (
        "a ",
        Reference("params", ("alpha",), 2, "${params.alpha}"),
        Reference("item", (), 17, "${item}"),
    )


@pytest.mark.parametrize(
    "text", ["", "$X", "${X}", "${X:-y.z}", "$(date)", "${#x}", "$$", "${params}", "${x-a.b}", "`${f()}`", "${a.b()}"]
)
def test_what_belongs_to_the_shell_is_left_as_it_is(text: str) -> None:
    assert render_text(text, SCOPE) == text
    assert find_references(text) == ()


@pytest.mark.parametrize(
    ("text", "literal"),
    [("$${params.alpha}", "${params.alpha}"), ("$${X}", "${X}"), ("$${foo.bar}", "${foo.bar}"), ("a$${", "a${")],
)
def test_two_dollars_before_a_brace_are_a_literal_one(text: str, literal: str) -> None:
    assert render_text(text, SCOPE) == literal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${params.alpha}", "0.1"),
        ("${params.n-1}", "1"),
        ("${params.deep.list.1.x}", "true"),
        ("${steps.fit.result.score}", "0.5"),
        ("${job.name}/${matrix.seed}", "train[alpha=0.1,seed=0]/3"),
        ("'${item}'", "'x; touch owned'"),
    ],
)
def test_a_reference_becomes_its_value(text: str, value: str) -> None:
    assert render_text(text, SCOPE) == value


def test_an_unknown_scope_is_refused_with_the_nearest_one_and_the_way_to_write_the_text() -> None:
    with pytest.raises(UnknownWord) as refused:
        parse_text("echo ${parms.alpha}")
    assert "${parms.alpha}" in refused.value.message
    assert "`${params.alpha}`" in refused.value.hint
    assert "$${parms.alpha}" in refused.value.hint


@pytest.mark.parametrize(
    "text", ["${params.x:-1}", "${params.}", "${params..x}", "${params.a b}", "${params.x", "${params.${matrix.seed}}"]
)
def test_a_name_of_ours_that_cannot_be_read_is_refused_and_shown(text: str) -> None:
    with pytest.raises(UnknownWord) as refused:
        parse_text(text)
    assert "${params." in refused.value.message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("${params.alhpa}", "${params.alhpa}: there is no `alhpa` in params", "did you mean `alpha`?"),
        ("${params.deep.lst}", "no `lst` in params.deep", "`list`"),
        ("${params.deep.list.7}", "no `7` in params.deep.list", "known: 0, 1"),
        ("${params.alpha.x}", "no `x` in params.alpha", ""),
        ("${steps.fti.result}", "no `fti` in steps", "`fit`"),
        ("${inputs.raw}", "${inputs.raw} has no value here", "known here: params"),
    ],
)
def test_a_name_without_a_value_is_told_with_the_nearest(text: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownWord) as refused:
        render_text(text, SCOPE)
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_an_item_outside_a_fan_out_is_told() -> None:
    with pytest.raises(UnknownWord, match="only a fan-out step has items"):
        render_text("${item}", {"params": {}})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a b", "a b"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        (3, "3"),
        (1e-05, "1e-05"),
        ([1, "ä", None], '[1,"ä",null]'),
        ({"a": {"b": True}}, '{"a":{"b":true}}'),
    ],
)
def test_how_a_value_is_written(value: object, written: str) -> None:
    assert format_word(value) == written


def test_a_text_that_is_one_reference_keeps_the_type_of_the_value() -> None:
    args = {"seed": "${matrix.seed}", "label": "s${matrix.seed}", "all": ["${params.deep}", 5, None], "${item}": "x"}
    assert render_value(args, SCOPE) == {
        "seed": 3,
        "label": "s3",
        "all": [{"list": [10, {"x": True}]}, 5, None],
        "${item}": "x",
    }


def test_lookup_gives_the_value_itself() -> None:
    assert lookup_reference(find_references("${params.deep.list}")[0], SCOPE) == [10, {"x": True}]


@given(st.text(alphabet="ab.${}()-_", max_size=20))
def test_text_without_our_scopes_is_never_changed_but_for_two_dollars(text: str) -> None:
    try:
        rendered = render_text(text, SCOPE)
    except UnknownWord:
        return
    assert rendered == text.replace("$${", "${")


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_value_is_never_read_as_a_template(before: str, value: str, after: str) -> None:
    before, after = before.replace("$", ""), after.replace("$", "")
    assert (
        render_text(before + "${item}" + after, {"item": value + "${params.x}"})
        == before + value + "${params.x}" + after
    )
