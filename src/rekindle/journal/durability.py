"""How much a power cut may undo: REKINDLE_DURABILITY.

Nothing is undone by the death of processes, however they die. With `normal` a power cut, or a crash of the kernel, may
take back the last fraction of a second, and what ran in it runs again. With `full` each line of a journal and each
transaction is on the disk before anything rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rekindle.domain.errors import BadValue

VARIABLE = "REKINDLE_DURABILITY"


def is_full(environment: Mapping[str, str]) -> bool:
    """Whether `full` is asked for. BadValue for what is neither `normal`, which is the default, nor `full`."""
    asked = environment.get(VARIABLE) or "normal"
    if asked not in ("normal", "full"):
        raise BadValue(f"{VARIABLE} is {asked!r}", hint="it is normal or full")
    return asked == "full"
