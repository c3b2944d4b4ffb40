"""Durations and sizes: parsing, errors and formatting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import BadValue
from rekindle.domain.texts.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("90s", 90),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1h 05m", 3900),
        ("2d", 172_800),
        ("1w2d", 777_600),
        ("10 minutes", 600),
        ("1hour 1sec", 3601),
        ("90S", 90),
        ("PT1H30M", 5400),
        ("PT0.5S", 0.5),
        ("P1DT1H", 90_000),
        ("P2W", 1_209_600),
        ("04:00:00", 14_400),
        ("100:00:00", 360_000),
        ("00:00:01.5", 1.5),
        ("1-02:00:00", 93_600),
        (" 5m ", 300),
        ("0s", 0),
    ],
)
def test_a_duration_with_a_unit_or_colons_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("bare", ["90", 90, 1.5, "1.5", "1e3", 0])
def test_a_bare_number_is_refused_with_the_units_to_add(bare: str | float) -> None:
    with pytest.raises(BadValue) as refused:
        parse_duration(bare)
    assert "no unit" in str(refused.value)
    assert f"{bare}s" in refused.value.hint


@pytest.mark.parametrize("negative", ["-5", -5, "-5m", "-PT1H"])
def test_a_negative_duration_is_refused(negative: str | int) -> None:
    with pytest.raises(BadValue):
        parse_duration(negative)


@pytest.mark.parametrize(
    "text",
    ["", "m", "5x", "30m1h", "5m5m", "04:00", "4:60:00", "1-24:00:00", "P", "PT", "P1M", "1e3s", "1,5h", "٣s", "soon"],
)
def test_what_is_no_duration_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BadValue) as refused:
        parse_duration(text)
    assert "1h30m" in refused.value.hint


def test_a_duration_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(BadValue, match="too long"):
        parse_duration("9" * 400 + "d")


def test_true_is_not_a_quantity() -> None:
    with pytest.raises(BadValue):
        parse_duration(True)
    with pytest.raises(BadValue):
        parse_size(True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024B", 1024),
        ("100K", 102_400),
        ("512M", 512 * 2**20),
        ("512MB", 512 * 2**20),
        ("8G", 8 * 2**30),
        ("8GiB", 8 * 2**30),
        ("8Gi", 8 * 2**30),
        ("8 g", 8 * 2**30),
        ("1.5T", 3 * 2**39),
        ("0B", 0),
    ],
)
def test_a_size_with_a_unit_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("bare", ["512", 512, 1.5])
def test_a_size_without_a_unit_is_refused_with_the_units_to_add(bare: str | float) -> None:
    with pytest.raises(BadValue) as refused:
        parse_size(bare)
    assert f"{bare}M" in refused.value.hint


@pytest.mark.parametrize("text", ["", "G", "-8G", "8X", "8GG", "1,5G", "x1.5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.004, "4 ms"),
        (0.3, "0.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1m 00s"),
        (303, "5m 03s"),
        (3599.7, "1h 00m"),
        (3900, "1h 05m"),
        (86_399, "1d 00h"),
        (183_600, "2d 03h"),
        (-3, "-3.0 s"),
    ],
)
def test_a_duration_is_short_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20 - 1, "1.0 MiB"), (8 * 2**30, "8.0 GiB"), (-5, "-5 B")],
)
def test_a_size_is_short_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_a_formatted_duration_can_be_parsed(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.03, abs=0.051)


@given(st.integers(min_value=0, max_value=2**60))
def test_a_formatted_size_can_be_parsed(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)
