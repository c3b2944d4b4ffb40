"""A dump's files: JSON documents one after another, as mongoexport writes them, by the collection that they are of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rekindle.domain.errors import NotFound, Problem, RekindleError, SpecError, UsageError

Document = Mapping[str, Any]

SUFFIXES = (".json", ".jsonl", ".ndjson")

_EXPORT = "mongoexport --db NAME --collection fireworks --out DUMP/fireworks.json (and launches, and workflows)"


@dataclass(slots=True)
class Dump:
    """The documents of the three collections; those of fireworks and launches by their ids."""

    workflows: list[Document] = field(default_factory=list)
    fireworks: dict[int, Document] = field(default_factory=dict)
    launches: dict[int, Document] = field(default_factory=dict)
    others: int = 0  # documents of other collections


def read_dump(paths: Sequence[Path]) -> Dump:
    """Read files, and folders of them. NotFound for what is not there, SpecError with every place that is no JSON,
    UsageError where no workflow is found at all."""
    dump = Dump()
    problems: list[SpecError] = []
    for path in _files(paths):
        try:
            for document in _documents(path):
                _take(dump, document)
        except SpecError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise RekindleError("; ".join(error.message for error in problems))
    if not dump.workflows or not dump.fireworks:
        missing = "workflows" if not dump.workflows else "fireworks"
        raise UsageError(f"there is no document of the collection {missing} in the dump", hint=_EXPORT)
    return dump


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise NotFound(f"no such file or folder: {path}", hint=_EXPORT)
        if not path.is_dir():
            yield path
            continue
        found = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
        if not found:
            binary = any(path.rglob("*.bson*"))
            hint = "mongodump writes BSON; this takes JSON: " if binary else ""
            raise UsageError(f"{path} holds no file {' or '.join(SUFFIXES)}", hint=hint + _EXPORT)
        yield from found


def _documents(path: Path) -> Iterator[Document]:
    """The objects of a file: one a line, one after another, or in a list."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RekindleError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text", hint="mongodump writes BSON; this takes JSON: " + _EXPORT) from None
    decoder = json.JSONDecoder(object_hook=_plain)
    at, end = _next(text, 0), len(text)
    while at < end:
        try:
            found, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            place = (error.lineno, error.colno)
            raise SpecError(str(path), [Problem(*place, f"no JSON: {error.msg}", _EXPORT)]) from None
        except ValueError as error:
            line = text.count("\n", 0, at) + 1
            raise SpecError(str(path), [Problem(line, 1, str(error), _EXPORT)]) from None
        for one in found if isinstance(found, list) else [found]:
            if not isinstance(one, dict):
                line = text.count("\n", 0, at) + 1
                raise SpecError(str(path), [Problem(line, 1, "an entry that is no object", _EXPORT)])
            yield one
        at = _next(text, at)


def _next(text: str, at: int) -> int:
    """Where the next value begins: some write commas between them."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _take(dump: Dump, document: Document) -> None:
    """Tell a document's collection by what only its documents have."""
    if isinstance(document.get("nodes"), list) and "links" in document:
        dump.workflows.append(document)
    elif isinstance(document.get("launch_id"), int) and "state" in document:
        dump.launches[document["launch_id"]] = document
    elif isinstance(document.get("fw_id"), int) and isinstance(document.get("spec"), dict):
        dump.fireworks[document["fw_id"]] = document
    else:
        dump.others += 1


_NUMBERS = {"$numberInt": int, "$numberLong": int, "$numberDouble": float, "$numberDecimal": float}


def _plain(found: dict[str, Any]) -> Any:
    """An object as it is, or the value that extended JSON writes as one: numbers, dates (as ISO texts), object ids."""
    if len(found) != 1:
        return found
    ((key, value),) = found.items()
    if key in _NUMBERS:
        return _NUMBERS[key](value)
    if key == "$date":
        return value if isinstance(value, str) else _iso(value / 1000)
    if key in ("$oid", "$symbol", "$uuid"):
        return str(value)
    return None if key == "$undefined" else found


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def moment(value: Any) -> float | None:
    """Seconds since the epoch of a date in a document; without a zone it is UTC. None: it is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def listed(value: Any) -> list[int]:
    """Ids in a document; what is none is left out."""
    return [one for one in value if isinstance(one, int)] if isinstance(value, Iterable) else []
