"""JSON with bytes that are not UTF-8."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.subtasks import item_text
from rekindle.domain.texts.display import show_bytes, show_json_bytes
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.journal.log import JournalWriter, read_records
from rekindle.journal.records import Opened, RecordedCode, Subtasks
from rekindle.store.stored_paths import StoredPaths

names = st.binary(max_size=20).map(os.fsdecode)
values = st.recursive(
    names | st.integers(-(10**40), 10**40) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_encoded_is_decoded_equal_and_read_by_python(value: object) -> None:
    text = to_json(value)
    assert text.decode("utf-8")
    assert from_json(text) == json.loads(text) == value


@given(values)
def test_an_item_is_a_text_of_its_own(value: object) -> None:
    assert from_json(item_text(value)) == value
    assert item_text(value).encode()


@given(names)
def test_a_stored_path_is_utf8_and_decoded_equal(name: str) -> None:
    paths = StoredPaths(os.fsdecode(b"/p\xe9/.rekindle"))
    for path in (f"{paths.parent}/{name}", f"/elsewhere/{name}"):
        path = os.path.normpath(path.replace("\0", ""))
        assert paths.encode(path).encode()
        assert paths.decode(paths.encode(path)) == path


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\udc7f"', r'["\udce9", NaN]', r'"\udce9', "NaN"])
def test_other_surrogates_and_what_is_no_json_are_errors(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_json(text)
    with pytest.raises(UnicodeEncodeError):
        to_json("\ud800")


def test_a_reader_checks_types_beside_surrogates() -> None:
    assert json_reader(dict[int, str])(r'{"1": "\udce9"}') == {1: "\udce9"}
    with pytest.raises(msgspec.ValidationError):
        json_reader(dict[int, str])(r'{"1": ["\udce9"]}')


def test_a_journal_keeps_such_names(tmp_path) -> None:
    records = [Opened("w", "h", "b", 1, 2, 3.0), RecordedCode("d", {"caf\udce9": "\udcff"}), Subtasks(1, "t", 0)]
    writer = JournalWriter(tmp_path / "w.jsonl")
    writer.append(*records)
    writer.close()
    assert read_records(tmp_path / "w.jsonl")[0] == records


def test_people_see_bytes_as_escapes() -> None:
    assert show_bytes("é caf\udce9 \ud800") == r"é caf\xe9 \ud800"
    assert show_json_bytes(r'"\udce9 \\udce9 \\\udce9"') == r'"\xe9 \\udce9 \\\xe9"'
