"""Where two outputs first differ: byte, line, place in JSON, file of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rekindle.engine.reproduction.compare import FirstDifference, first_difference, first_json_difference


def differ(folder: Path, before: bytes, after: bytes, name: str = "out.txt") -> FirstDifference | None:
    paths = []
    for side, content in (("before", before), ("after", after)):
        (folder / side).mkdir()
        paths.append(folder / side / name)
        paths[-1].write_bytes(content)
    return first_difference(*map(str, paths))


def test_equal_files_do_not_differ(tmp_path: Path) -> None:
    assert differ(tmp_path, b"a\nb\n", b"a\nb\n") is None


def test_a_text_differs_in_a_line(tmp_path: Path) -> None:
    found = differ(tmp_path, b"a\nbcd\ne\n", b"a\nbxd\ne\n")
    assert found == FirstDifference(None, 3, 2, None, "bcd", "bxd")


def test_a_longer_file_differs_where_the_other_ends(tmp_path: Path) -> None:
    found = differ(tmp_path, b"a\n", b"a\nb\n")
    assert found == FirstDifference(None, 2, 2, None, "", "b")


def test_bytes_that_are_no_text_differ_at_an_offset(tmp_path: Path) -> None:
    head = b"\n" * ((1 << 20) + 5)  # more than is read at once
    found = differ(tmp_path, head + b"\0\1\2", head + b"\0\1\3")
    assert found == FirstDifference(None, len(head) + 2, None, None, None, None)


def test_json_files_differ_at_a_path_whatever_their_layout(tmp_path: Path) -> None:
    found = differ(tmp_path, b'{"a": 1, "b": [1, 2]}', b'{\n"b": [1, 3],\n"a": 1}', "out.json")
    assert found == FirstDifference(None, None, None, "$.b[1]", "2", "3")


def test_a_broken_json_file_is_compared_as_text(tmp_path: Path) -> None:
    found = differ(tmp_path, b'{"a": 1', b'{"a": 2', "out.json")
    assert found is not None
    assert (found.line, found.byte, found.path) == (1, 6, None)


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, "$.b"),
        ({"a": 1}, {}, "$.a"),
        ([1, 2], [1], "$[1]"),
        ([[1], [2]], [[1], [3]], "$[1][0]"),
        (1, True, "$"),
        (1, 1.0, "$"),
        ({"a": [1]}, {"a": {"0": 1}}, "$.a"),
        ("x", None, "$"),
    ],
)
def test_values_differ_at_a_path(before: Any, after: Any, path: str) -> None:
    found = first_json_difference(before, after)
    assert found is not None
    assert found.path == path


def test_values_in_another_order_of_keys_are_equal() -> None:
    assert first_json_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) is None


def test_folders_differ_in_the_first_file_by_name(tmp_path: Path) -> None:
    for side, contents in (("a", {"one": "1", "sub/two": "2"}), ("b", {"one": "1", "sub/two": "3", "z": ""})):
        for name, text in contents.items():
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    found = first_difference(str(tmp_path / "a"), str(tmp_path / "b"))
    assert found is not None
    assert (found.file, found.line) == ("sub/two", 1)
    (tmp_path / "b" / "sub" / "two").unlink()
    gone = first_difference(str(tmp_path / "a"), str(tmp_path / "b"))
    assert gone == FirstDifference("sub/two", before="there", after=None)
