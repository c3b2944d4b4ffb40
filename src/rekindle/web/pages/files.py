"""A file: which attempts made it, and which used it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from rekindle.engine.queries import job_queries
from rekindle.engine.queries.file_uses import file_uses, recorded_file
from rekindle.presentation import reasons, words
from rekindle.web.console import Page
from rekindle.web.pages.attempts import chosen_attempt, row_of, shown_path

if TYPE_CHECKING:
    from rekindle.engine.queries.file_uses import FileUse
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values


def add(console: Console) -> None:
    """Add the page. A file is named by a job, an attempt and the name that the attempt knows it by, not by a path."""
    console.add_page(Page("/files", "files.html", _page))


def _page(session: Session, query: Query) -> Values:
    row = row_of(session, query, "job")
    attempt = chosen_attempt(session, row.job, query)
    if attempt is None:
        raise HTTPException(404, f"{words.one_line(row.job.name)} has not run: it has recorded no files")
    kind = "output" if query.get("kind") == "output" else "input"
    file = recorded_file(session, attempt.id, kind, query.get("name", ""))
    found = file_uses(session, file.path)
    project = job_queries.project_folder(session, row.job.workflow)
    path = shown_path(file.path, project)
    return {
        "title": path,
        "path": path,
        "row": row,
        "attempt": attempt,
        "kind": kind,
        "name": words.one_line(file.name),
        "digest": reasons.short_digest(file.digest) if file.digest else "was not there",
        "sides": [
            (
                "Made by",
                "No attempt recorded it as an output.",
                [_use(one, file.digest, file.path) for one in found.made],
            ),
            (
                "Used by",
                "No attempt recorded it as an input.",
                [_use(one, file.digest, file.path) for one in found.used],
            ),
        ],
        "more": found.more,
    }


def _use(one: FileUse, digest: str, path: str) -> dict[str, Any]:
    folder = one.content.path != path
    return {
        "attempt": one.attempt,
        "job": one.job,
        "live": one.job.attempt == one.attempt.id,
        "digest": reasons.short_digest(one.content.digest) if one.content.digest else "was not there",
        "same": None if folder else one.content.digest == digest,
        "folder": folder,
        "name": words.one_line(one.content.name),
    }
