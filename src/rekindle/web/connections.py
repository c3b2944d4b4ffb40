"""The connections of the server: their limits, and the messages to its operator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rekindle.presentation import words

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp

MOST_CONNECTIONS = 700
"""The most connections: below the usual limit of open files."""

LONGEST_HEAD = 32 << 10
"""The most bytes of the head of a request."""

HEAD_SECONDS = 10.0
"""How long the head of a request may take to arrive."""

_END_SECONDS = 1  # for requests that wait, when the server ends


def configured(app: ASGIApp, *, proxied: bool) -> uvicorn.Config:
    """Return the configuration of a server. `proxied`: a proxy on this host says where requests come from; without one,
    who says so only disguises itself."""
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_level="critical",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=proxied,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=_END_SECONDS,
    )


class _Protocol(H11Protocol):
    """A connection that is closed if the head of a request does not arrive in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take data. Wait for the rest of a head that is not complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _PrintableFormatter(logging.Formatter):
    """Messages in one line, without the control characters that jobs and requests may have put into them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message."""
        text = f"rekindle: {words.one_line(record.getMessage())}"
        return f"{text}\n{words.printable(self.formatException(record.exc_info))}" if record.exc_info else text


def log_to_stderr() -> None:
    """Write the server's messages to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter())
    log = logging.getLogger("rekindle")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
