"""The fields of a form, from the body of a request; numbers in addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_FIELDS = 1_000
_TYPE = "application/x-www-form-urlencoded"


async def fields_of(request: Request) -> dict[str, list[str]]:
    """Return the values of each field. Raise HTTPException for another kind of body, or too many fields."""
    if request.headers.get("content-type", _TYPE).partition(";")[0].strip().lower() != _TYPE:
        raise HTTPException(415, f"a form is sent as {_TYPE}")
    try:
        text = (await request.body()).decode()
        return parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, "the form is malformed, or has too many fields") from None


def one_of(fields: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the last value of a field; "" if it is not there."""
    return fields.get(name, [""])[-1]


LARGEST_NUMBER = (1 << 63) - 1


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """Return a number from 0 in an address; None if it is not there. Raise HTTPException for anything else."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= LARGEST_NUMBER):
        raise HTTPException(400, f"`{name}` in the address is not a number")
    return int(text)


def id_of(query: Mapping[str, str], name: str = "id") -> int:
    """Return an id in the path of an address. Raise HTTPException if it is none: no page is there."""
    try:
        return number_of(query, name) or 0
    except HTTPException:
        raise HTTPException(404, "there is no such page") from None
