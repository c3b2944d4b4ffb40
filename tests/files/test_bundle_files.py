"""Files of bundles: damage is found before anything is read, and nothing larger than its manifest says is unpacked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.files.bundle_files import (
    MANIFEST,
    PIECE,
    BundleFile,
    BundleFileWriter,
    DamagedBundle,
    Member,
    is_safe,
    lines_of,
)


def written(path: Path, members: dict[str, bytes]) -> list[Member]:
    writer = BundleFileWriter(path)
    for name, content in members.items():
        writer.add(name, [content])
    writer.add(MANIFEST, [b"{}"])
    writer.close()
    return writer.members[:-1]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    written(tmp_path / "b", {"rows/a.jsonl": b"[1]\n" * 30, "project/é\nx": bytes(range(256))})
    return tmp_path / "b"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    members = written(tmp_path / "b", {"a": b"one", "é\n": b"", "big": bytes(3 * PIECE + 1)})
    bundle = BundleFile(tmp_path / "b")
    bundle.expect(members)
    assert [b"".join(bundle.read(one.name)) for one in members] == [b"one", b"", bytes(3 * PIECE + 1)]
    assert bundle.manifest == b"{}"
    bundle.close()
    with zipfile.ZipFile(tmp_path / "b") as plain:  # any tool reads it
        assert plain.testzip() is None
        assert plain.read("a") == b"one"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_damage(bundle: Path, at: float, bit: int) -> None:
    content = bytearray(bundle.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    damaged = bundle.with_name("damaged")
    damaged.write_bytes(content)
    with pytest.raises(DamagedBundle):
        BundleFile(damaged)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True))
def test_any_cut_is_damage(bundle: Path, at: float) -> None:
    content = bundle.read_bytes()
    bundle.with_name("cut").write_bytes(content[: int(at * len(content))])
    with pytest.raises(DamagedBundle):
        BundleFile(bundle.with_name("cut"))


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as other:
        other.writestr("a", "b")
    tarfile.open(tmp_path / "plain.tar", "w").close()
    (tmp_path / "text").write_text("x" * 1000)
    (tmp_path / "empty").touch()
    for name in ("plain.zip", "plain.tar", "text", "empty"):
        with pytest.raises(DamagedBundle, match="no bundle of rekindle"):
            BundleFile(tmp_path / name)


def test_no_more_is_unpacked_than_the_manifest_says(tmp_path: Path) -> None:
    [member] = written(tmp_path / "b", {"bomb": bytes(200 * PIECE)})
    assert (tmp_path / "b").stat().st_size < 2 * PIECE
    bundle = BundleFile(tmp_path / "b")
    bundle.expect([Member("bomb", 10, member.blake3, member.sha256)])
    with pytest.raises(DamagedBundle, match="larger than its manifest says"):
        next(bundle.read("bomb"))
    bundle.close()


def test_a_member_that_is_not_what_the_manifest_says_is_damage(tmp_path: Path) -> None:
    one, other = written(tmp_path / "b", {"a": b"one", "b": b"two"})
    bundle = BundleFile(tmp_path / "b")
    bundle.expect([Member("a", 3, other.blake3, ""), other])
    with pytest.raises(DamagedBundle, match="a is not what"):
        list(bundle.read("a"))
    for members in ([one], [one, other, Member("c", 0, "", "")]):
        with pytest.raises(DamagedBundle, match="not those that its manifest lists"):
            bundle.expect(members)
    bundle.close()


def test_a_writer_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> Iterator[bytes]:
        yield b"x"
        raise OSError("full")

    writer = BundleFileWriter(tmp_path / "b")
    with pytest.raises(OSError, match="full"):
        writer.add("a", fails())
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_lines_are_put_together_from_pieces() -> None:
    pieces = [b"a", b"b\nc", b"\n\nd", b"", b"e"]
    assert list(lines_of(pieces)) == [b"ab", b"c", b"", b"de"]
    assert list(lines_of(io.BytesIO(b"x\ny\n"))) == [b"x", b"y"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b", True),
        ("é\n x", True),
        ("..a", True),
        ("../a", False),
        ("a/../../b", False),
        ("/a", False),
        ("a//b", False),
        ("", False),
        ("a/.", False),
        ("a\0b", False),
        ("a/", False),
    ],
)
def test_names_that_lead_out_of_their_folder_are_not_safe(name: str, safe: bool) -> None:
    assert is_safe(name) is safe
