"""The migration that encodes absolute paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import Baseline, FileFingerprints
from rekindle.domain.rerun.plan import Reason, SavedFile
from rekindle.domain.texts.display import show_bytes
from rekindle.store.paths import with_checked, with_prints, with_reasons, with_request, with_saved
from rekindle.store.queries import load
from rekindle.store.sqlite_connection import execute_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from rekindle.store.stored_paths import Convert, StoredPaths

SQL = load("upgrading")

_PATH_COLUMNS = ("workflow_directory", "workflow_source", "job_folder", "attempt_folder", "file_path")

Value = TypeVar("Value")


def encode_paths(connection: sqlite3.Connection, paths: StoredPaths) -> None:
    """Encode the absolute paths at or below the store's parent folder, in the caller's transaction. Other paths stay
    as they are."""
    for root, sign in ((paths.folder, "@"), (paths.parent.rstrip("/"), ".")):
        for name in _PATH_COLUMNS if show_bytes(root) == root else ():  # older stores' folders are always UTF-8
            connection.execute(SQL[name].text, {"root": root, "sign": sign})
    encode = paths.encode
    rows = [
        (_encoded(document, FileFingerprints, with_prints, encode), attempt)
        for attempt, document in connection.execute(SQL["fingerprints"].text)
    ]
    execute_rows(connection, SQL["put_fingerprint"], rows)
    bases = [
        (_encoded(document, Baseline, _with_basis, encode), attempt, rerun)
        for attempt, rerun, document in connection.execute(SQL["accepted"].text)
    ]
    execute_rows(connection, SQL["put_accepted"], bases)
    requests = [
        (_encoded(request, dict[str, Any], with_request, encode), number)
        for number, request in connection.execute(SQL["requests"].text)
    ]
    execute_rows(connection, SQL["put_request"], requests)
    jobs = [
        (
            _encoded(reasons, tuple[Reason, ...], with_reasons, encode),
            _encoded(pointers, dict[str, Any], _with_paths, encode),
            _encoded(manner, dict[str, Any], _with_paths, encode),
            _encoded(saved, tuple[SavedFile, ...], with_saved, encode),
            _encoded(checked, dict[str, Any], with_checked, encode),
            rerun,
            job,
        )
        for rerun, job, reasons, pointers, manner, saved, checked in connection.execute(SQL["rerun_jobs"].text)
    ]
    execute_rows(connection, SQL["put_rerun_job"], jobs)


def _encoded(
    text: str | None, kind: type[Value], change: Callable[[Value, Convert], Any], encode: Convert
) -> str | None:
    return None if text is None else msgspec.json.encode(change(msgspec.json.decode(text, type=kind), encode)).decode()


def _with_basis(basis: Baseline, convert: Convert) -> Baseline:
    return replace(basis, prints=with_prints(basis.prints, convert))


def _with_paths(document: dict[str, Any], convert: Convert) -> dict[str, Any]:
    """Return pointers, or what a next attempt does, as that migration stores them."""
    folder = document.get("folder")
    saves = {"saves": [convert(path) for path in document["saves"]]} if "saves" in document else {}
    return document | saves | ({} if folder is None else {"folder": convert(folder)})
