r"""Texts that hold bytes which are not UTF-8, such as the names of files.

In memory, such a byte is a lone surrogate (U+DC80 to U+DCFF), as `os.fsdecode` returns it and `os.fsencode` takes it.
In JSON it is the escape of that surrogate, `\udce9`, as Python's json module reads and writes it: see
journal.encoding. People see `\xe9`.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE = re.compile(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")


def escape(text: str) -> str:
    """Return a JSON text without surrogates: each is replaced by its escape."""
    return text if text.isascii() else _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shown(text: str) -> str:
    r"""Return a text as people see it: a byte that is not UTF-8 as `\xe9`, any other surrogate as `\ud800`."""
    return text if text.isascii() else _SURROGATE.sub(_seen, text)


def shown_json(text: str) -> str:
    r"""Return a JSON text as people see it: the escape of a byte that is not UTF-8 as `\xe9`."""
    return _BYTE.sub(r"\1\\x\2", text) if "\\udc" in text else text


def _seen(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
