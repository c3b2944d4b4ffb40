"""Read a dump: files of JSON documents, as mongoexport writes them, by collection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from rekindle.domain.errors import NotFound, RekindleError, SpecError, SpecProblem, UsageError

Document = Mapping[str, Any]

DUMP_SUFFIXES = (".json", ".jsonl", ".ndjson")

_EXPORT = "mongoexport --db NAME --collection fireworks --out DUMP/fireworks.json (and launches, and workflows)"


class Dump(msgspec.Struct):
    """The documents of the three collections. Fireworks and launches are keyed by id."""

    workflows: list[Document] = msgspec.field(default_factory=list)
    fireworks: dict[int, Document] = msgspec.field(default_factory=dict)
    launches: dict[int, Document] = msgspec.field(default_factory=dict)
    others: int = 0  # documents of other collections


def read_dump(paths: Sequence[Path]) -> Dump:
    """Read files and folders of files. Raises NotFound for a missing path, SpecError with every place that is not
    JSON, and UsageError if there is no workflow."""
    dump = Dump()
    problems: list[SpecError] = []
    for path in _dump_files(paths):
        try:
            for document in _read_documents(path):
                _add_document(dump, document)
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


def _dump_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise NotFound(f"no such file or folder: {path}", hint=_EXPORT)
        if not path.is_dir():
            yield path
            continue
        found = sorted(one for one in path.iterdir() if one.suffix in DUMP_SUFFIXES and one.is_file())
        if not found:
            binary = any(path.rglob("*.bson*"))
            hint = "mongodump writes BSON; this takes JSON: " if binary else ""
            raise UsageError(f"{path} holds no file {' or '.join(DUMP_SUFFIXES)}", hint=hint + _EXPORT)
        yield from found


def _read_documents(path: Path) -> Iterator[Document]:
    """Yield the objects of a file: one on each line, one after another, or in a list."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RekindleError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(
            f"{path} is not a text file", hint="mongodump writes BSON; this takes JSON: " + _EXPORT
        ) from None
    decoder = json.JSONDecoder(object_hook=_from_extended_json)
    at, end = _next_value(text, 0), len(text)
    while at < end:
        try:
            found, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            place = (error.lineno, error.colno)
            raise SpecError(str(path), [SpecProblem(*place, f"not JSON: {error.msg}", _EXPORT)]) from None
        except ValueError as error:
            line = text.count("\n", 0, at) + 1
            raise SpecError(str(path), [SpecProblem(line, 1, str(error), _EXPORT)]) from None
        for one in found if isinstance(found, list) else [found]:
            if not isinstance(one, dict):
                line = text.count("\n", 0, at) + 1
                raise SpecError(str(path), [SpecProblem(line, 1, "an entry that is no object", _EXPORT)])
            yield one
        at = _next_value(text, at)


def _next_value(text: str, at: int) -> int:
    """Return the offset of the next value. Commas between values are skipped."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _add_document(dump: Dump, document: Document) -> None:
    """Sort a document into its collection by the fields that only that collection has."""
    if isinstance(document.get("nodes"), list) and "links" in document:
        dump.workflows.append(document)
    elif isinstance(document.get("launch_id"), int) and "state" in document:
        dump.launches[document["launch_id"]] = document
    elif isinstance(document.get("fw_id"), int) and isinstance(document.get("spec"), dict):
        dump.fireworks[document["fw_id"]] = document
    else:
        dump.others += 1


_NUMBERS = {"$numberInt": int, "$numberLong": int, "$numberDouble": float, "$numberDecimal": float}


def _from_extended_json(found: dict[str, Any]) -> Any:
    """Return a plain object as it is, and the value of an extended JSON object: a number, a date (as ISO text) or an
    id."""
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


def timestamp(value: Any) -> float | None:
    """Return a date of a document in seconds since the epoch (UTC if without a zone), or None if it is not a date."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def int_list(value: Any) -> list[int]:
    """Return the integers of a list."""
    return [one for one in value if isinstance(one, int)] if isinstance(value, Iterable) else []
