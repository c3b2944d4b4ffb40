"""Where two files part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.files import text_diff as module
from rekindle.files.text_diff import FirstDifference, first_difference, text_diff


def wrote(folder: Path, *contents: bytes | None) -> list[str]:
    paths = []
    for at, content in enumerate(contents):
        path = folder / str(at)
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize(
    ("a", "b", "parting"),
    [
        (b"", b"", None),
        (None, None, None),
        (None, b"", None),
        (b"a\nb\n", b"a\nb\n", None),
        (b"a\nb\n", b"a\nb", None),
        (b"a\nb\n", b"a\nc\n", FirstDifference(2, "b", "c")),
        (b"a\nbcd\n", b"a\nbce\n", FirstDifference(2, "bcd", "bce")),
        (b"a\nb\n", b"a\n", FirstDifference(2, "b", None)),
        (b"a\nb", b"a\nb\nc\n", FirstDifference(3, None, "c")),
        (b"a", b"a\n\n", FirstDifference(2, None, "")),
        (b"a\n", b"a\n\n", FirstDifference(2, None, "")),
        (None, b"x\n", FirstDifference(1, None, "x")),
        (b"\xff\n", b"\xfe\n", FirstDifference(1, "\ufffd", "\ufffd")),
        (b"ab\n", b"a", FirstDifference(1, "ab", "a")),
    ],
)
def test_the_first_line_that_differs(
    tmp_path: Path, a: bytes | None, b: bytes | None, parting: FirstDifference | None
) -> None:
    assert first_difference(*wrote(tmp_path, a, b)) == parting


LINES = st.lists(st.sampled_from(["", "a", "ab", "b" * 9]), max_size=8)


@given(LINES, LINES, st.integers(1, 9))
def test_wherever_pieces_end_it_is_the_line_that_a_reader_would_find(
    tmp_path_factory: pytest.TempPathFactory, a: list[str], b: list[str], piece: int
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    paths = wrote(folder, *("".join(f"{line}\n" for line in lines).encode() for lines in (a, b)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", piece)
        found = first_difference(*paths)
    longest = max(len(a), len(b))
    pairs = [tuple(lines[at] if at < len(lines) else None for lines in (a, b)) for at in range(longest)]
    first = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    assert found == (None if first is None else FirstDifference(first + 1, *pairs[first]))


def test_a_very_long_line_is_shown_from_near_the_place_where_it_differs(tmp_path: Path) -> None:
    found = first_difference(*wrote(tmp_path, b"x" * 10_000 + b"1", b"x" * 10_000 + b"2"))
    assert found is not None
    assert (found.line, found.a, found.b) == (1, "x" * 200 + "1", "x" * 200 + "2")


def test_small_texts_are_compared_line_by_line(tmp_path: Path) -> None:
    assert text_diff(*wrote(tmp_path, b"a\nb\nc\n", b"a\nB\nc\nd\n")) == ["- b", "+ B", "+ d"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\0", "not a text"),
        (b"\xff\xfe", "not a text"),
        (b"x" * (module.LARGEST + 1), "too large to compare by line"),
        (b"\n" * (module.MOST_LINES + 1), "too large to compare by line"),
    ],
)
def test_others_are_not(tmp_path: Path, content: bytes, why: str) -> None:
    assert text_diff(*wrote(tmp_path, b"a\n", content)) == why
