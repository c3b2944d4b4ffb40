"""What jobs print, as HTML: text is escaped, the colours of a terminal become classes, and other control characters
are shown as `\\x1b`. Nothing that a job prints is markup."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from markupsafe import Markup, escape
from msgspec.structs import replace

from rekindle.domain.texts.display import show_bytes
from rekindle.domain.texts.regexes import lazy_regex

_STYLE = lazy_regex(r"\x1b\[([0-9;:]{0,60})m")
_ERASE = lazy_regex(r"\x1b\[0?K|\r(?=\n)")
"""What changes nothing here: programs that colour their output also erase the rest of each line; and the first half of
a line break of two characters. A `\\r` alone is a line break: a bar of progress is many lines."""

_CONTROL = lazy_regex(
    "[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control characters, and those that are invisible or change the direction of a text."""

PLAIN = ""
_NAMES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF = {22: (1, 2), 23: (3,), 24: (4,), 27: (7,), 29: (9,)}


class TerminalStyle(msgspec.Struct, frozen=True):
    """How a terminal would show a text: attributes by their numbers, and colours from 0 to 15."""

    attributes: frozenset[int] = frozenset()
    front: int | None = None
    back: int | None = None

    @property
    def classes(self) -> str:
        """Return the classes of an element with this style."""
        names = [f"t-{_NAMES[one]}" for one in sorted(self.attributes)]
        names += [f"t-front-{self.front}"] if self.front is not None else []
        names += [f"t-back-{self.back}"] if self.back is not None else []
        return " ".join(names)

    @property
    def code(self) -> str:
        """Return the parameters of the escape sequence that sets this style: `1;31`."""
        colours = [_code(30, self.front)] if self.front is not None else []
        colours += [_code(40, self.back)] if self.back is not None else []
        return ";".join(map(str, [*sorted(self.attributes), *colours]))


NO_STYLE = TerminalStyle()


def styled(code: str, style: TerminalStyle = NO_STYLE) -> TerminalStyle:
    """Return the style after the parameters of an escape sequence: `1;31`. Others than colours and attributes are
    ignored."""
    numbers = iter([int(one or 0) if len(one) < 4 else 999 for one in code.replace(":", ";").split(";")])
    for number in numbers:
        if number == 0:
            style = NO_STYLE
        elif number in _NAMES:
            style = replace(style, attributes=style.attributes | {number})
        elif number in _OFF:
            style = replace(style, attributes=style.attributes - set(_OFF[number]))
        elif number in (38, 48):
            colour = _further_colour(numbers)
            style = replace(style, front=colour) if number == 38 else replace(style, back=colour)
        elif number in (39, 49):
            style = replace(style, front=None) if number == 39 else replace(style, back=None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style = replace(style, front=_colour(number))
        elif 40 <= number <= 47 or 100 <= number <= 107:
            style = replace(style, back=_colour(number - 10))
    return style


def terminal_html(data: bytes, style: TerminalStyle = NO_STYLE) -> tuple[Markup, TerminalStyle]:
    """Return what a job printed as HTML, and the style at its end."""
    pieces: list[str] = []
    for text, after in _runs(_ERASE.sub("", data.decode(errors="surrogateescape")), style):
        if text:
            shown = escape(_visible(text))
            pieces.append(f'<span class="{style.classes}">{shown}</span>' if style is not NO_STYLE else str(shown))
        style = after
    return Markup("".join(pieces)), style


def _runs(text: str, style: TerminalStyle) -> Iterator[tuple[str, TerminalStyle]]:
    """Yield each text without a change of style, and the style after it."""
    parts = _STYLE.split(text)
    for at in range(0, len(parts), 2):
        if at + 1 < len(parts):
            style = styled(parts[at + 1], style)
            style = style if style.classes else NO_STYLE
        yield parts[at], style


def _visible(text: str) -> str:
    text = text.replace("\r", "\n")
    return show_bytes(_CONTROL.sub(lambda found: _shown(ord(found[0])), text))


def _shown(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _colour(number: int) -> int:
    return number - 30 if number < 90 else number - 82


def _code(base: int, colour: int) -> int:
    return base + colour if colour < 8 else base + 52 + colour


def _further_colour(numbers: Iterator[int]) -> int | None:
    """Return the nearest of 16 colours to one of 256 (`5;N`) or of all (`2;R;G;B`)."""
    kind = next(numbers, 0)
    if kind == 5:
        number = next(numbers, 0)
        if number < 16:
            return number
        if number >= 232:
            return _nearest(*[8 + 10 * (number - 232)] * 3)
        steps = number - 16
        return _nearest(*(51 * one for one in (steps // 36, steps // 6 % 6, steps % 6)))
    if kind == 2:
        return _nearest(*(next(numbers, 0) for _ in range(3)))
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    """Return the colour with the same strong parts, bright or not."""
    strongest = max(red, green, blue)
    if max(strongest - min(red, green, blue), 0) < 40:  # grey
        return 0 if strongest < 64 else 8 if strongest < 144 else 7 if strongest < 224 else 15
    parts = [one > strongest * 0.6 for one in (red, green, blue)]
    return (8 if strongest > 200 else 0) + parts[0] + 2 * parts[1] + 4 * parts[2]
