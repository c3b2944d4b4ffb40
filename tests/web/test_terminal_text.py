"""What jobs print, as HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from rekindle.web.terminal_text import styled, terminal_html


class _Reader(HTMLParser):
    """Collects the text, and everything that is no span with a class."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.other = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = attrs[0][1] if len(attrs) == 1 and attrs[0][0] == "class" else None
        if tag != "span" or not re.fullmatch(r"t-[a-z0-9-]+( t-[a-z0-9-]+)*", classes or ""):
            self.other.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


SAMPLES = st.sampled_from(
    [
        b"<script>alert(1)</script>",
        b"&amp;",
        b'"',
        b"\x1b[",
        b"1;31m",
        b"\x1b[38;5;200m",
        b"\x1b[38;2;1;2;3m",
        b"\x1b[0m",
        b"\x00",
        b"\n",
    ]
)


@given(st.lists(SAMPLES | st.binary(max_size=6), max_size=40).map(b"".join))
def test_nothing_that_is_printed_is_markup(data: bytes) -> None:
    html, style = terminal_html(data)
    found = _Reader(html)
    assert found.other == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", found.text)
    assert styled(style.code) == style


def test_colours_become_classes() -> None:
    html, style = terminal_html(b"a\x1b[1;31mred\x1b[0m \x1b[97;44mw\x1b[39m")
    assert html == 'a<span class="t-bold t-front-1">red</span> <span class="t-front-15 t-back-4">w</span>'
    assert style.code == "44"


def test_colours_of_larger_palettes_become_the_nearest_of_16() -> None:
    colours = {b"38;5;9": 9, b"38;5;196": 9, b"38;5;22": 2, b"38;2;0;0;255": 12, b"38;5;232": 0, b"38;5;255": 15}
    for code, colour in colours.items():
        assert terminal_html(b"\x1b[" + code + b"mx")[0] == f'<span class="t-front-{colour}">x</span>', code


def test_control_characters_and_bytes_that_are_no_text_are_shown() -> None:
    html, _ = terminal_html("\0 \x1b[2J \u202e \x07 \x9b31m".encode() + b"\xff\xc3\n\ttab")
    assert html == "\\x00 \\x1b[2J \\u202e \\x07 \\x9b31m\\xff\\xc3\n\ttab"


def test_a_carriage_return_is_a_line_break() -> None:
    assert terminal_html(b"10 %\r20 %\r\nend")[0] == "10 %\n20 %\nend"
