"""The picture at the top of README shows what the commands print now."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = "{http://www.w3.org/2000/svg}text"

# Parts that differ between runs: durations, cores, digests; the line of a failure, which a very short run leaves out.
VARYING = re.compile(r"\b\d+(\.\d+)? (ms|s)\b|of (one core|\d+ cores)'s?|\b[0-9a-f]{10}\b|^failed mean.*|^\s+")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("animation")


def words(picture: str) -> list[str]:
    """Return the text of each line of a picture, without what differs between runs."""
    lines: dict[tuple[str, str], str] = {}
    for block in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}g"):
        for text in block.findall(TEXT):
            place = (block.attrib["id"], text.attrib["y"])
            lines[place] = f"{lines.get(place, '')} {text.text}".strip()
    shown = [re.sub(r"\s+", " ", VARYING.sub("", line)) for line in lines.values()]
    return [line for line in shown if line]


def test_the_commands_print_what_the_picture_shows(script: ModuleType, tmp_path: Path) -> None:
    """After a change of what they print: make animation."""
    script.write_files(tmp_path)
    assert words(script.draw(script.play(tmp_path))) == words(script.PICTURE.read_text())


def test_the_picture_shows_a_failure_a_plan_a_rerun_and_an_undo(script: ModuleType) -> None:
    text = "\n".join(words(script.PICTURE.read_text()))
    shown = ["1 failed", "2 jobs run again", "rerun 1 is applied", "rerun 1 is undone", "jobs now: 4 completed"]
    assert sorted(shown, key=text.index) == shown


def test_the_picture_is_small_and_lasts_twenty_seconds(script: ModuleType) -> None:
    picture = script.PICTURE.read_text()
    assert len(picture.encode()) < 150_000
    assert set(re.findall(r"\banimation: \w+ (\S+)", picture)) == {"20s"}


def test_a_viewer_who_prefers_no_motion_sees_the_last_frame(script: ModuleType) -> None:
    picture = script.PICTURE.read_text()
    still, moving = picture.split("@media not (prefers-reduced-motion: reduce) {", 1)
    assert "animation:" not in still
    assert re.findall(r"#scroll \{ transform: (\S+) \}", still) == re.findall(r"100% \{ transform: (\S+) \} \}", moving)


def test_readme_shows_the_picture_with_its_text(script: ModuleType) -> None:
    path = script.PICTURE.relative_to(ROOT)
    assert f"![{script.ALT}]({path})" in (ROOT / "README.md").read_text().replace("\n", " ")
