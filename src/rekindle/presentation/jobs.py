"""Jobs of a list as text, and what the names of several jobs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rekindle.presentation import attempts, words

if TYPE_CHECKING:
    from rekindle.domain.texts.name_sets import NameIndex, NameSet
    from rekindle.engine.results import JobRow


def job_notes(row: JobRow) -> list[str]:
    """Return notes beside a job of a list: whether it is held, when its retry starts, its verdict."""
    job = row.job
    notes = [f"held: {job.held}" if job.held not in (None, "held") else "held"] if job.held is not None else []
    notes += attempts.short_undecided(row.attempt)
    notes += [f"retry at {words.short_time(job.next.not_before)}"] if job.next.not_before is not None else []
    notes += ["after the end of attempts that it would disturb"] if row.awaits else []
    notes += ["retired"] if job.retired else []
    notes += [attempts.verdict(row.verdict)] if row.verdict is not None else []
    notes += ["partial"] if row.partial else []
    notes += ["by hand"] if row.attempt is not None and row.attempt.completed_by is not None else []
    notes += ["runs unless unchanged"] if job.next.reuse_candidate is not None else []
    return notes


_MOST_SETS = 3
_VALUES = (1_000, 8, 5, 4, 3, 2)
"""Values of a key that are listed: the first number with which the text fits."""


def common_names(names: Sequence[str], width: int, index: NameIndex | None = None) -> str | None:
    """Return what the names of jobs have in common, in at most `width` columns: `train[model=b, seed=3,8,13,…]`. None
    if the names have too little in common. One name is returned whole. Values that restrict none of the names in
    `index` are left out; all names of a matrix are `train[*]`."""
    if len(names) == 1:
        return words.one_line(names[0])
    if index is None:
        from rekindle.domain.texts.name_sets import NameIndex

        index = NameIndex(())
    sets = index.factor(names)
    if len(sets) > _MOST_SETS:
        return None
    ranges = [{key: _ranges(values) for key, values in one.values} for one in sets]
    texts = [_sets_text(sets, ranges, most) for most in (_VALUES if len(sets) == 1 else _VALUES[:1])]
    fitting = next((text for text in texts if words.display_width(text) <= width), None)
    if fitting is None and len(sets) > 1:
        return None
    return words.one_line(words.cut(texts[-1], width) if fitting is None else fitting)


def _sets_text(sets: Sequence[NameSet], ranges: Sequence[Mapping[str, Sequence[str]]], most: int) -> str:
    """Return sets of names as text. Of more than `most` values or ranges of a key, the first ones with an ellipsis."""
    parts = []
    for base, alike in groupby(zip(sets, ranges, strict=True), key=lambda one: (one[0].base, bool(one[0].keys))):
        each = [
            ", ".join(
                f"{key}={','.join(values if len(values) <= most else [*values[: most - 1], '…'])}"
                for key, values in known.items()
            )
            or "*"
            for _, known in alike
        ]
        parts.append(f"{base[0]}[{'; '.join(each)}]" if base[1] else base[0])
    return ", ".join(parts)


def _ranges(values: Sequence[str]) -> list[str]:
    """Return values with those that follow each other as ranges: `0..19`, `24`."""
    parts: list[str] = []
    for _, run in groupby(enumerate(values), key=lambda at: int(at[1]) - at[0] if at[1].isdecimal() else at[1]):
        listed = [value for _, value in run]
        parts += [f"{listed[0]}..{listed[-1]}"] if len(listed) > 2 else listed
    return parts
