"""What the manifest of a bundle says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from rekindle.files.bundle_files import Member

FORMAT: Final = "rekindle bundle"
VERSION: Final = 1

ATTEMPTS = "attempts.tar"
"""The logs of attempts, and with `--outputs` their folders and kept outputs. `N.0.out` is the log of the first step of
attempt number N."""

PROJECT = "project/"
"""Prefix of the members with files of the workflow's folder."""

CRATE = "ro-crate-metadata.json"


def rows_member(table: str) -> str:
    """Return the name of the member with the rows of a table: a line with its columns, then a line for each row."""
    return f"rows/{table}.jsonl"


class Manifest(msgspec.Struct, frozen=True):
    """What is in a bundle. `schema` is the version of the tables, as SQLite counts them. `newest` is the newest time in
    the history, in seconds since the epoch."""

    format: str
    version: int
    schema: int
    workflow: str
    newest: float
    logs: bool
    inputs: bool
    outputs: bool
    rows: Mapping[str, int]
    attempt_files: int
    members: tuple[Member, ...]
