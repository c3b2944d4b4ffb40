"""Requests to a worker on another host, which neither a pipe nor a signal reaches: words in a file beside its journal.

Whoever adopts the worker appends a word to the file; the worker reads the file whenever it touches its journal. On a
network file system a file that did not exist may stay unseen for a minute, so the worker makes the file with its
journal where the spool may be shared."""

from __future__ import annotations

import os
from enum import StrEnum

from rekindle.files.store_files import open_file

TOUCH_SECONDS = 5.0
"""Time between two touches of a journal by its worker, which then also reads its requests."""


class Request(StrEnum):
    """What a worker is asked to do."""

    STOP = "stop"  # give back what has not started, finish the rest and exit
    CANCEL = "cancel"  # the same, and cancel what runs
    REVOKE = "revoke"  # its attempts were given to others: kill what runs, journal nothing and exit


def requests_path(journal: str) -> str:
    """Return the file of the requests to the worker that writes a journal."""
    return f"{journal}.requests"


def make_requests_file(journal: str) -> None:
    """Make the file, empty unless it exists."""
    os.close(open_file(requests_path(journal), os.O_WRONLY | os.O_APPEND))


def send_request(journal: str, request: Request) -> None:
    """Append a request."""
    fd = open_file(requests_path(journal), os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, f"{request.value}\n".encode())
    finally:
        os.close(fd)


def read_requests(journal: str) -> list[str]:
    """Return the words in the file; none if it does not exist. Raise OSError if it cannot be read."""
    try:
        with open(requests_path(journal), encoding="ascii", errors="replace") as file:
            return file.read().split()
    except FileNotFoundError:
        return []
