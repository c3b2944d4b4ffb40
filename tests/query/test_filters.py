"""Filters of the command line: FIELD OP VALUE."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import BadSelection, UnknownWord, UsageError
from rekindle.domain.selection import FIELDS, AllOf, AnyOf, Compare, Not, Op
from rekindle.domain.states import State
from rekindle.query.filters import parse_filter

DAY = 86_400.0
FIRST_OF_MAY = 1_714_521_600.0  # 2024-05-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "field", "op", "value"),
    [
        ("id=7", "id", Op.EQ, 7),
        ("attempts>=2", "attempts", Op.GE, 2),
        ("attempts<=2", "attempts", Op.LE, 2),
        ("exit_code!=0", "exit_code", Op.NE, 0),
        ("exit_code=-1", "exit_code", Op.EQ, -1),
        ("state=Failed", "state", Op.EQ, State.FAILED),
        ("state!=CANCELLED", "state", Op.NE, State.CANCELED),
        ("held=true", "held", Op.EQ, True),
        ("retired=No", "retired", Op.EQ, False),
        ("name=train[alpha=0.1,seed=0]", "name", Op.EQ, "train[alpha=0.1,seed=0]"),
        ("name~^train", "name", Op.REGEX, "^train"),
        (" host = node7 ", "host", Op.EQ, "node7"),
        ("workflow.id=3", "workflow.id", Op.EQ, 3),
        ("error.message~no space", "error.message", Op.REGEX, "no space"),
        ("cause=Timeout", "cause", Op.EQ, "timeout"),
        ("cause=cancelled", "cause", Op.EQ, "canceled"),
        ("verdict=BLOCKER", "verdict", Op.EQ, "blocker"),
        ("seconds>90.5", "seconds", Op.GT, 90.5),
        ("seconds>1h30m", "seconds", Op.GT, 5400.0),
        ("max_rss_bytes>512M", "max_rss_bytes", Op.GT, 512 * 2**20),
        ("project=", "project", Op.EQ, ""),
    ],
)
def test_values_are_typed_by_their_field(text: str, field: str, op: Op, value: Any) -> None:
    found = parse_filter(text)
    assert found == Compare(field, op, value)
    assert isinstance(found, Compare)
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("state", "'state'"),
        ("=failed", "'=failed'"),
        ("state=fizzled", "fizzled"),
        ("state<failed", "state"),
        ("held>true", "held"),
        ("held=maybe", "maybe"),
        ("id=x", '"x"'),
        ("id=1.5", '"1.5"'),
        ("id>", "id>"),
        ("id~7", "~"),
        ("seconds=nan", "nan"),
        ("seconds=soon", "soon"),
        ("max_rss_bytes>big", "big"),
        ("name~(", "'('"),
        ("name==x", "name==x"),
        ("name=~x", "name=~x"),
        ("started>yesterday", "yesterday"),
        ("cause=exist", "exist"),
        ("verdict=good", "good"),
        ("matrix.=1", "matrix."),
        ("colour=red", "colour"),
    ],
)
def test_invalid_input_is_named_in_the_error(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert named in caught.value.message
    assert caught.value.exit_code == 64


def test_the_nearest_field_is_suggested() -> None:
    with pytest.raises(UnknownWord) as caught:
        parse_filter("exitcode=1")
    assert "exit_code" in caught.value.hint


def test_a_state_of_another_system_is_translated_in_the_hint() -> None:
    with pytest.raises(UnknownWord) as caught:
        parse_filter("state=fizzled")
    assert "failed" in caught.value.hint


def test_a_date_is_its_whole_day() -> None:
    inside = AllOf((Compare("started", Op.GE, FIRST_OF_MAY), Compare("started", Op.LT, FIRST_OF_MAY + DAY)))
    assert parse_filter("started=2024-05-01") == inside
    assert parse_filter("started!=2024-05-01") == Not(inside)
    assert parse_filter("started>2024-05-01") == Compare("started", Op.GE, FIRST_OF_MAY + DAY)
    assert parse_filter("started>=2024-05-01") == Compare("started", Op.GE, FIRST_OF_MAY)
    assert parse_filter("started<2024-05-01") == Compare("started", Op.LT, FIRST_OF_MAY)
    assert parse_filter("started<=2024-05-01") == Compare("started", Op.LT, FIRST_OF_MAY + DAY)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2024-05-01T00:00:00Z", FIRST_OF_MAY),
        ("2024-05-01T02:00:00+02:00", FIRST_OF_MAY),
        ("2024-05-01T00:00", FIRST_OF_MAY),
        ("2024-05-01 00:00:00", FIRST_OF_MAY),
        ("2024-04-30T19:00:00-05:00", FIRST_OF_MAY),
        ("2024-05-01T00:00:00.25Z", FIRST_OF_MAY + 0.25),
    ],
)
def test_times_are_utc_unless_they_have_an_offset(text: str, start: float) -> None:
    assert parse_filter(f"ended>={text}") == Compare("ended", Op.GE, start)


@pytest.mark.parametrize(
    ("text", "length"), [("T10", 3600), ("T10:30", 60), ("T10:30Z", 60), ("T10:30:05Z", 1), ("T10:30:05+01:00", 1)]
)
def test_a_time_spans_its_written_precision(text: str, length: float) -> None:
    found = parse_filter(f"ended=2024-05-01{text}")
    assert isinstance(found, AllOf)
    start, end = (part.value for part in found.parts if isinstance(part, Compare))
    assert end - start == length


def test_a_matrix_value_matches_as_number_or_text() -> None:
    same = AnyOf((Compare("matrix.seed", Op.EQ, 0), Compare("matrix.seed", Op.EQ, "0")))
    assert parse_filter("matrix.seed=0") == same
    assert parse_filter("matrix.seed!=0") == Not(same)
    assert parse_filter("matrix.alpha>0.5") == Compare("matrix.alpha", Op.GT, 0.5)
    assert parse_filter("matrix.mode=fast") == Compare("matrix.mode", Op.EQ, "fast")
    assert parse_filter("matrix.id=007") == Compare("matrix.id", Op.EQ, "007")
    assert parse_filter("matrix.file~png$") == Compare("matrix.file", Op.REGEX, "png$")


@given(
    st.sampled_from(sorted(FIELDS)),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]),
    st.text("0123456789-:.TZ=~<>!aeiné([ ", max_size=12),
)
def test_every_filter_is_read_or_refused(field: str, op: str, value: str) -> None:
    try:
        parse_filter(field + op + value)
    except (BadSelection, UnknownWord) as refusal:
        message = refusal.message
    else:
        message = field
    assert field in message
