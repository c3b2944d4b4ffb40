"""Upgrading a store whose paths are all absolute: those at or below the folder that holds it are encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from sqlite3 import Connection
from typing import Any, TypeVar

import msgspec

from rekindle.domain.changes.prints import Basis, Prints
from rekindle.domain.rerunning.rerun import Manner, Pointers, Reason, SavedFile
from rekindle.domain.texts.surrogates import shown
from rekindle.store.paths import (
    Convert,
    StoredPaths,
    with_checked,
    with_manner,
    with_prints,
    with_reasons,
    with_request,
    with_saved,
)
from rekindle.store.queries import load

SQL = load("upgrading")

_COLUMNS = ("workflow_directory", "workflow_source", "job_folder", "attempt_folder", "file_path")

Value = TypeVar("Value")


def encode_paths(connection: Connection, paths: StoredPaths) -> None:
    """Encode the absolute paths of a store, in the caller's transaction. Paths elsewhere stay as they are."""
    for root, sign in ((paths.folder, "@"), (paths.parent.rstrip("/"), ".")):
        for name in _COLUMNS if shown(root) == root else ():  # no store was ever kept in a folder that is not UTF-8
            connection.execute(SQL[name].text, {"root": root, "sign": sign})
    encode = paths.encode
    rows = [
        (_encoded(document, Prints, with_prints, encode), attempt)
        for attempt, document in connection.execute(SQL["fingerprints"].text)
    ]
    connection.executemany(SQL["put_fingerprint"].text, rows)
    bases = [
        (_encoded(document, Basis, _with_basis, encode), attempt, rerun)
        for attempt, rerun, document in connection.execute(SQL["accepted"].text)
    ]
    connection.executemany(SQL["put_accepted"].text, bases)
    requests = [
        (_encoded(request, dict[str, Any], with_request, encode), number)
        for number, request in connection.execute(SQL["requests"].text)
    ]
    connection.executemany(SQL["put_request"].text, requests)
    jobs = [
        (
            _encoded(reasons, tuple[Reason, ...], with_reasons, encode),
            _encoded(pointers, Pointers, _with_pointers, encode),
            _encoded(manner, Manner, with_manner, encode),
            _encoded(saved, tuple[SavedFile, ...], with_saved, encode),
            _encoded(checked, dict[str, Any], with_checked, encode),
            rerun,
            job,
        )
        for rerun, job, reasons, pointers, manner, saved, checked in connection.execute(SQL["rerun_jobs"].text)
    ]
    connection.executemany(SQL["put_rerun_job"].text, jobs)


def _encoded(
    text: str | None, kind: type[Value], change: Callable[[Value, Convert], Any], encode: Convert
) -> str | None:
    return None if text is None else msgspec.json.encode(change(msgspec.json.decode(text, type=kind), encode)).decode()


def _with_basis(basis: Basis, convert: Convert) -> Basis:
    return replace(basis, prints=with_prints(basis.prints, convert))


def _with_pointers(pointers: Pointers, convert: Convert) -> Pointers:
    return pointers if pointers.folder is None else replace(pointers, folder=convert(pointers.folder))
