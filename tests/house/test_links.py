"""Links in the Markdown files lead somewhere, as far as that can be known offline: files and headings exist, and
addresses are well-formed. `make docs` checks the links between pages of the documentation once more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"``.+?``|`[^`\n]+`", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\)")
_DEFINITION = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_TARGET = re.compile(r"^\(([\w-]+)\)=$", re.MULTILINE)
_WEB = ("http", "https")


def markdown_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def links(text: str) -> Iterator[str]:
    """Yield the targets of links outside of code."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    yield from _LINK.findall(prose)
    yield from _DEFINITION.findall(prose)


def anchors(path: Path) -> set[str]:
    """The names by which a page's headings and targets are linked to."""
    text = _FENCE.sub("", path.read_text())
    found: set[str] = set(_TARGET.findall(text))
    for heading in _HEADING.findall(text):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower()).replace(" ", "-")
        repeated = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found


def generated_targets() -> set[str]:
    """The targets of the generated parts of the reference."""
    from reference_pages import filled

    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {target for page in pages for target in _TARGET.findall(filled(page.read_text()))}


def test_each_link_to_a_file_or_heading_leads_there() -> None:
    generated = generated_targets()
    broken = []
    for page in markdown_files():
        for link in links(page.read_text()):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / parts.path).resolve() if parts.path else page
            there = target.exists() and (not parts.fragment or target.suffix != ".md" or _has(target, parts.fragment))
            if not there and not (not parts.path and parts.fragment in generated):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def _has(page: Path, fragment: str) -> bool:
    return fragment in anchors(page)


def test_each_address_is_well_formed() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in markdown_files()
        for link in links(page.read_text())
        if urlsplit(link).scheme and not _well_formed(link)
    ]
    assert wrong == []


def _well_formed(link: str) -> bool:
    parts = urlsplit(link)
    host = re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}|localhost|127\.0\.0\.1", parts.hostname or "")
    return parts.scheme in _WEB and host is not None and not re.search(r"[\s\"'<>{}|\\^`]", link)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](b.md)", ["b.md"]),
        ("[`a[0]`](b.md#c)", ["b.md#c"]),
        ("`[a](b.md)`", []),
        ("```\n[a](b.md)\n```", []),
        ("[a]: https://example.org/x", ["https://example.org/x"]),
    ],
)
def test_links_in_code_are_not_links(text: str, found: list[str]) -> None:
    assert list(links(text)) == found


@pytest.mark.parametrize(
    "link", ["https://example", "ftp://example.org", "https://exa mple.org/", "https://example.org/`"]
)
def test_malformed_addresses_are_found(link: str) -> None:
    assert not _well_formed(link)
