"""The logs of attempts: pieces by byte, new output while a step runs, search, and the raw file. A log is named by an
attempt's id, the position of a step, a stream and the index of an item, never by a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse

from rekindle.domain.states import ENDED
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.engine.queries import job_queries
from rekindle.engine.queries import log_reading as reading
from rekindle.engine.queries.logs import attempt_log
from rekindle.files.kept_logs import content_size, log_size
from rekindle.presentation import attempts as attempt_texts
from rekindle.presentation import documents, words
from rekindle.web.console import Page, Part, address, query_of
from rekindle.web.forms import id_of, number_of
from rekindle.web.security import RAW_POLICY
from rekindle.web.terminal_text import styled, terminal_html

if TYPE_CHECKING:
    from starlette.requests import Request

    from rekindle.engine.queries.log_reading import LogMatch, LogPiece
    from rekindle.engine.queries.logs import Stream
    from rekindle.engine.results import LogFile
    from rekindle.engine.session import Session
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values

FARTHEST_BEHIND = 4 * reading.PIECE_BYTES
"""A page that follows a log and is farther behind gets the log's end next."""

_LONGEST_TEXT = 1_000  # characters to search
_RAW_BYTES = 256 << 10
_STYLE = lazy_regex(r"[0-9;]{0,60}")
_RANGE = lazy_regex(r"bytes=(\d{1,18})?-(\d{1,18})?")
_UNSAFE = lazy_regex(r"[^A-Za-z0-9._=-]+")


_STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class LogAddress(msgspec.Struct, frozen=True):
    """Which log an address means."""

    attempt: int
    step: int
    stream: Literal["stdout", "stderr"]
    item: int | None

    @classmethod
    def of(cls, query: Query) -> LogAddress:
        """Return the log of an address. Raise HTTPException for anything else."""
        streams = [one for one in _STREAMS if one == (query.get("stream") or "stdout")]
        if not streams:
            raise HTTPException(400, "`stream` is stdout or stderr")
        return cls(id_of(query), number_of(query, "step") or 0, streams[0], number_of(query, "item"))

    def find(self, session: Session) -> LogFile:
        """Return the log. Raise NotFound."""
        return attempt_log(session, self.attempt, self.step, self.stream, self.item)

    def path(self, below: str = "", /, **query: object) -> str:
        """Return an address of this log: of its page, or `/raw` and others below that."""
        item = "" if self.item is None else str(self.item)
        own = {"step": str(self.step), "stream": self.stream, "item": item}
        more = {name.rstrip("_"): str(value) for name, value in query.items() if value not in (None, "")}
        return address(f"/attempts/{self.attempt}/log{below}", {**own, **more})


def add(console: Console) -> None:
    """Add the page of logs, and what it loads."""
    console.add_page(Page("/attempts/{id}/log", "log.html", _page))
    console.add_page(Page("/attempts/{id}/log/piece", "log_piece.html", _new_piece))
    console.add_page(Page("/attempts/{id}/log/search", "log_matches.html", _matches, slow=True))
    console.add_part(Part("log-state", "parts/log_state.html", _state))

    async def step(request: Request, _: Principal) -> Response:
        query = query_of(request)
        async with console.slow:
            return RedirectResponse(await console.readers.run(lambda session: _next_match(session, query)), 303)

    async def raw(request: Request, _: Principal) -> Response:
        log = LogAddress.of(query_of(request))
        file, name = await console.readers.run(lambda session: (log.find(session), _file_name(session, log)))
        return _raw(reading.open_log(file), name, request.headers.get("range", ""))

    console.add_action("/attempts/{id}/log/next", "read", step, "GET")
    console.add_action("/attempts/{id}/log/raw", "read", raw, "GET")


def _page(session: Session, query: Query) -> Values:
    log, (text, pattern) = LogAddress.of(query), _searched(query)
    file = log.find(session)
    at, length = number_of(query, "at"), min(number_of(query, "len") or 0, _LONGEST_TEXT)
    begin, before = number_of(query, "from"), number_of(query, "before")
    if at is not None:
        piece = reading.piece_around(file, at)
    elif begin is not None:
        piece = reading.piece_from(file, begin)
    else:
        piece = reading.piece_before(file, before)
    attempt = job_queries.attempt(session, log.attempt)
    job = job_queries.jobs(session, [attempt.job])[0]
    owner = attempt if file.attempt == attempt.id else job_queries.attempt(session, file.attempt)
    follows = not piece.final and at is None and begin is None and before is None
    return {
        "title": f"Log of {words.one_line(job.job.name)}",
        "log": log,
        "file": file,
        "attempt": attempt,
        "owner": owner,
        "job": job,
        "streams": _streams(session, log, job_queries.step_names(session, attempt)),
        "piece": {**_piece(piece, "", at, length), "follows": follows},
        "find": text,
        "pattern": pattern,
        "at": at,
        "missing": query.get("missing", ""),
        "item": file.subtask and documents.subtask(file.step, file.subtask),
    }


def _streams(session: Session, log: LogAddress, steps: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the logs of the steps of the attempt, and those of the item, with their sizes."""
    addresses = [
        LogAddress(log.attempt, position, stream, None) for position in range(len(steps)) for stream in _STREAMS
    ]
    addresses += [LogAddress(log.attempt, log.step, stream, log.item) for stream in _STREAMS if log.item is not None]
    return [
        {
            "path": one.path(),
            "step": steps[one.step],
            "stream": one.stream,
            "item": one.item,
            "size": log_size(one.find(session).path),
            "chosen": one == log,
        }
        for one in addresses
    ]


def _new_piece(session: Session, query: Query) -> Values:
    """Return what was printed after a byte, or the log's end to a page that is far behind."""
    log, style = LogAddress.of(query), query.get("style", "")
    if not _STYLE.fullmatch(style):
        raise HTTPException(400, "`style` is the numbers of an escape sequence")
    file, begin = log.find(session), number_of(query, "from") or 0
    piece = reading.piece_from(file, begin)
    skipped = 0
    if piece.size - piece.start > FARTHEST_BEHIND:
        piece = reading.last_piece(file)
        skipped, style = piece.start - begin, ""
    return {"piece": {**_piece(piece, style), "skipped": skipped, "follows": not piece.final}}


def _piece(piece: LogPiece, style: str, at: int | None = None, length: int = 0) -> dict[str, Any]:
    """Return a piece as its template shows it. `at`, `length`: the bytes of a match."""
    cut = piece.data if at is None else piece.data[: max(0, at - piece.start)]
    matched = b"" if at is None else piece.data[len(cut) : len(cut) + length]
    before, now = terminal_html(cut, styled(style))
    found, now = terminal_html(matched, now)
    after, now = terminal_html(piece.data[len(cut) + len(matched) :], now)
    return {
        "html": before,
        "match": found,
        "after": after,
        "style": now.code,
        "start": piece.start,
        "end": piece.end,
        "size": piece.size,
        "lines": piece.data.count(b"\n") + piece.data.count(b"\r"),
        "final": piece.final,
        "over": piece.final and piece.end >= piece.size,
        "skipped": 0,
    }


def _searched(query: Query) -> tuple[str, bool]:
    """Return the text to search and whether it is a regular expression."""
    return query.get("find", "")[:_LONGEST_TEXT], query.get("regex", "") == "1"


def _matches(session: Session, query: Query) -> Values:
    log, (text, pattern) = LogAddress.of(query), _searched(query)
    file, start = log.find(session), number_of(query, "from") or 0
    found = reading.search_log(file, text, start, pattern=pattern)
    regex = "1" if pattern else ""
    resume = found.resume
    return {
        "matches": [
            {
                "path": log.path(find=text, regex=regex, at=one.offset, len=min(one.length, _LONGEST_TEXT)) + "#match",
                **_preview(one),
            }
            for one in found.matches
        ],
        "found": found,
        "more": None if resume is None else log.path("/search", find=text, regex=regex, from_=resume),
        "find": text,
        "first": start == 0,
    }


def _preview(one: LogMatch) -> dict[str, Any]:
    before, style = terminal_html(one.before)
    found, style = terminal_html(one.found, style)
    after, _ = terminal_html(one.after, style)
    return {"offset": one.offset, "before": before, "match": found, "after": after}


def _next_match(session: Session, query: Query) -> str:
    """Return the address of the match after the byte `at`, or before it."""
    log, (text, pattern) = LogAddress.of(query), _searched(query)
    file, at, backwards = log.find(session), number_of(query, "at") or 0, query.get("back") == "1"
    start = at if backwards else at + 1
    found = reading.search_log(file, text, start, pattern=pattern, backwards=backwards, most=1)
    shown: dict[str, object] = {"find": text, "regex": "1" if pattern else ""}
    if found.matches:
        match = found.matches[0]
        return log.path(**shown, at=match.offset, len=min(match.length, _LONGEST_TEXT)) + "#match"
    if found.resume is not None:
        return log.path(**shown, at=found.resume, missing="unread")
    return log.path(**shown, at=at, len=query.get("len", ""), missing="before" if backwards else "after")


def _state(session: Session, query: Query) -> Values:
    attempt = job_queries.attempt(session, id_of(query))
    return {"attempt": attempt, "cause": attempt_texts.full_cause(attempt), "ended": attempt.state in ENDED}


def _file_name(session: Session, log: LogAddress) -> str:
    """Return the name under which a browser saves a log."""
    attempt = job_queries.attempt(session, log.attempt)
    job = job_queries.jobs(session, [attempt.job])[0].job
    step = job_queries.step_names(session, attempt)[log.step]
    parts = [job.name, str(attempt.number), step, *([] if log.item is None else [str(log.item)]), log.stream]
    return _UNSAFE.sub("_", "-".join(parts))[-120:].lstrip(".-") + ".log"


def _raw(log: BinaryIO | None, name: str, wanted: str) -> Response:
    """Return the bytes of a log, or the range that a Range header asks for, as a file that no browser shows."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": RAW_POLICY,
        "Accept-Ranges": "bytes",
    }
    size = 0 if log is None else content_size(log)
    chosen = _range(wanted, size)
    if log is None:
        return Response(b"", headers=headers, media_type="text/plain")
    if chosen is None:
        log.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    first, after = chosen
    status = 200
    if after - first < size:
        status, headers["Content-Range"] = 206, f"bytes {first}-{after - 1}/{size}"
    headers["Content-Length"] = str(after - first)
    return StreamingResponse(_bytes(log, first, after), status, headers, media_type="text/plain")


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the byte after the last of a Range header; all bytes unless it is one range; None if
    it is beyond the file."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not any(match.groups()):
        return 0, size
    first, last = match.groups()
    if first is None:
        return (max(0, size - int(last)), size) if int(last) and size else None
    if int(first) >= size or (last is not None and int(last) < int(first)):
        return None
    return int(first), size if last is None else min(size, int(last) + 1)


def _bytes(log: BinaryIO, at: int, after: int) -> Iterator[bytes]:
    with log:
        log.seek(at)
        while at < after and (piece := log.read(min(_RAW_BYTES, after - at))):
            at += len(piece)
            yield piece
