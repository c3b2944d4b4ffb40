r"""JSON as rekindle's processes exchange and store it: as msgspec encodes it, with bytes that are not UTF-8 (in file
names, see domain.texts.display) as `\udce9`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from rekindle.domain.texts.display import escape_surrogates
from rekindle.domain.texts.regexes import lazy_regex

_ESCAPE = lazy_regex(rb"\\u[dD][89a-fA-F]")

_encode = msgspec.json.Encoder().encode


def to_json(value: Any, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Encode a value as JSON, as msgspec does. Raise UnicodeEncodeError for a surrogate that stands for no byte."""
    try:
        return _encode(value) if enc_hook is None else msgspec.json.encode(value, enc_hook=enc_hook)
    except (UnicodeEncodeError, OverflowError):  # msgspec encodes no surrogates, and no integers of more than 64 bits
        import json

        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=enc_hook or _raw)
        _check(text := json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
        return escape_surrogates(text).encode()


def json_reader(kind: Any) -> Callable[[bytes | str], Any]:
    """Return a function that decodes JSON into `kind`, as msgspec does, and also accepts lone surrogates. The
    function raises msgspec.DecodeError, or RecursionError if the values are nested too deeply."""

    decode: Callable[[bytes | str], Any] | None = None

    def read(text: bytes | str) -> Any:
        nonlocal decode
        if decode is None:  # a decoder takes up to a millisecond to build; most commands read few kinds
            decode = msgspec.json.Decoder(kind).decode
        try:
            return decode(text)
        except msgspec.DecodeError:
            if not _ESCAPE.search(text.encode() if isinstance(text, str) else text):
                raise
        import json

        try:
            plain = json.loads(text, parse_constant=_refuse)
            _check(json.dumps(plain, ensure_ascii=False))
        except ValueError as error:
            raise msgspec.DecodeError(f"JSON is malformed: {error}") from error
        return msgspec.convert(plain, kind, str_keys=True)

    return read


from_json = json_reader(Any)
"""Decode JSON into plain values; see `json_reader`."""


def _check(text: str) -> None:
    """Raise UnicodeEncodeError for a surrogate that stands for no byte."""
    text.encode(errors="surrogateescape")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _raw(value: Any) -> Any:
    """Return the value of a msgspec.Raw, which `to_builtins` does not support."""
    if isinstance(value, msgspec.Raw):
        return from_json(bytes(value))
    raise TypeError(f"{type(value).__qualname__} has no form in JSON")
