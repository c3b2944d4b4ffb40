"""Options of sbatch that say how large a job is; the others are passed on as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from rekindle.domain.errors import BadValue, UsageError


class SlurmSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a job is, as far as options say it, and the other options."""

    cpus: int | None = None
    memory: int | None = None  # bytes
    gpus: int | None = None
    seconds: float | None = None
    others: tuple[str, ...] = ()


_NAMES = {
    **dict.fromkeys(("-c", "--cpus-per-task"), "cpus"),
    **dict.fromkeys(("-t", "--time"), "seconds"),
    "--mem": "memory",
    **dict.fromkeys(("-G", "--gpus", "--gpus-per-node"), "gpus"),
}

_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def read_options(words: Sequence[str]) -> SlurmSize:
    """Read the size from options of sbatch. Raise UsageError for one without its value, BadValue for a bad value."""
    values: dict[str, float] = {}
    others: list[str] = []
    left = iter(words)
    for word in left:
        name, value = _split(word, left)
        if name is None:
            others.append(word)
        elif name == "cpus" or name == "gpus":
            values[name] = _count(word, value.rpartition(":")[2])
        elif name == "memory":
            values[name] = _size(word, value)
        else:
            values[name] = parse_slurm_time(value)
    sizes = {name: value if name == "seconds" else math.ceil(value) for name, value in values.items()}
    return msgspec.convert({**sizes, "others": tuple(others)}, SlurmSize)


def parse_slurm_time(text: str) -> float:
    """Return the seconds of a time as Slurm writes and reads it: minutes, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM` or
    `D-HH:MM:SS`. Raise BadValue for another text."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not found:
        raise BadValue(f"{text!r} is not a time of Slurm", hint="30 (minutes), 4:00:00 or 1-12:00:00")
    days, *fields = found.groups()
    first, second, third = (None if one is None else int(one) for one in fields)
    if days is not None or third is not None:
        hours, minutes, seconds = first or 0, second or 0, third or 0
    else:
        hours, minutes, seconds = 0, first or 0, second or 0
    return int(days or 0) * 86400.0 + hours * 3600 + minutes * 60 + seconds


def _split(word: str, left: Iterator[str]) -> tuple[str | None, str]:
    """Return what an option says and its value, which may be the next word; None: something else."""
    name, equals, value = word.partition("=")
    if not word.startswith("--") and word[:2] in _NAMES and len(word) > 2:
        name, equals, value = word[:2], "=", word[2:].removeprefix("=")
    meaning = _NAMES.get(name)
    if meaning is not None and not equals:
        try:
            value = next(left)
        except StopIteration:
            raise UsageError(f"{word} of sbatch needs a value") from None
    return meaning, value


def _count(word: str, text: str) -> int:
    if not text.isdecimal():
        raise BadValue(f"{word}: {text!r} is not a number")
    return int(text)


def _size(word: str, text: str) -> int:
    """Return the bytes of a size: Slurm's unit is M."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if not found:
        raise BadValue(f"{word}: {text!r} is not a size", hint="--mem=8G")
    return int(found[1]) << _UNITS[found[2].upper() or "M"]
