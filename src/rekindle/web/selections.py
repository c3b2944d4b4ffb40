"""Selections of jobs as fields of forms: in the words of the command line, or as ids.

`all` says that the jobs are those that match `w`, `state`, `name`, `filter`, `query`, `error`, `signature` and
`changed`, without those of `minus`. Otherwise they are those of `plus`. Both hold ids and ranges of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.errors import BadSelection
from rekindle.domain.selection import AllOf, Compare, Not, Op, Selection
from rekindle.query.job_keys import parse_ids
from rekindle.query.selections import SelectionFlags, parse_selection

WORDS = ("state", "name", "filter", "query", "error", "signature", "changed")
"""The fields that `all` narrows by."""

MOST_VALUES = 50
"""The most values of one field."""

LONGEST_WORD, LONGEST_IDS = 10_000, 1 << 20
"""The most characters of a value, and of ids."""

Fields = Mapping[str, Sequence[str]]


def selection_of(fields: Fields) -> Selection:
    """Return the selection of a form. Raise BadSelection or UnknownWord, naming the invalid field; BadSelection also if
    nothing is selected."""
    selection, left_out = parse_selection(flags_of(fields)), parse_ids(_values(fields, "minus"))
    if selection.empty:
        raise BadSelection("nothing is selected", hint="give a workflow or a filter with `all`")
    return msgspec.structs.replace(selection, where=_without(selection, left_out)) if left_out else selection


def typed(fields: Fields) -> dict[str, Any]:
    """Return the selection of a form for the record of a request, as the command line records its flags."""
    left_out = {"minus": values} if (values := _values(fields, "minus")) else {}
    return flags_of(fields).typed() | left_out


def flags_of(fields: Fields) -> SelectionFlags:
    """Return the selection of a form as flags of the command line, without `minus`. Raise BadSelection if the fields
    contradict one another, or nothing is selected."""
    given = {key for key in ("plus", "minus", *WORDS) if _values(fields, key)}
    if fields.get("all", ["0"])[-1] in ("1", "true"):
        if "plus" in given:
            raise BadSelection("`plus` names jobs, and `all` means all that match", hint="leave one of them out")
        return words_of(fields)
    if "plus" not in given:
        raise BadSelection("nothing is selected", hint="select jobs, or all that match")
    if unused := [key for key in ("minus", *WORDS) if key in given]:
        raise BadSelection(f"`{unused[0]}` narrows all that match, and `plus` names jobs", hint="leave one of them out")
    return SelectionFlags(workflow=_one(fields, "w"), ids=_values(fields, "plus"))


def words_of(fields: Fields) -> SelectionFlags:
    """Return `w` and WORDS as flags of the command line."""
    changed = _one(fields, "changed")
    return SelectionFlags(
        workflow=_one(fields, "w"),
        names=_values(fields, "name"),
        states=_values(fields, "state"),
        filters=_values(fields, "filter"),
        queries=_values(fields, "query"),
        error=_one(fields, "error"),
        signature=_one(fields, "signature"),
        changed="all" if changed == "all" else changed is not None,
    )


def _without(selection: Selection, left_out: Sequence[int]) -> AllOf:
    """Return the condition of a selection that leaves jobs out: decided where the jobs are found, in one snapshot."""
    return AllOf((selection.where, Not(Compare("id", Op.IN, left_out))))


def _values(fields: Fields, key: str) -> list[str]:
    """Return the values of a field that are not empty. Raise BadSelection if they are too many, or too long."""
    values = [value for value in fields.get(key, ()) if value.strip()]
    longest = LONGEST_IDS if key in ("plus", "minus") else LONGEST_WORD
    if len(values) > MOST_VALUES:
        raise BadSelection(f"`{key}` is given more than {MOST_VALUES} times")
    if any("\0" in value for value in values):
        raise BadSelection(f"`{key}` has a null character")
    if any(len(value) > longest for value in values):
        raise BadSelection(f"`{key}` is longer than {longest:,} characters")
    return values


def _one(fields: Fields, key: str) -> str | None:
    values = _values(fields, key)
    return values[-1] if values else None
