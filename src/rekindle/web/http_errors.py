"""What an error means to who made a request: its status, what is wrong, and what to do."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from rekindle.domain.errors import (
    IllegalTransition,
    JournalError,
    NotFound,
    Refused,
    RekindleError,
    SpecError,
    StoreError,
    StoreUnavailable,
)

_STATUSES: tuple[tuple[type[RekindleError], int], ...] = (
    (NotFound, 404),
    (Refused, 409),
    (IllegalTransition, 409),
    (SpecError, 422),
    (StoreUnavailable, 503),
    (StoreError, 500),
    (JournalError, 500),
)
"""The status of errors, the first that applies; of others 400."""

KNOWN: tuple[type[Exception], ...] = (HTTPException, RekindleError, OverflowError, UnicodeEncodeError)
"""The errors that requests may cause. Others are logged."""


def describe(error: Exception) -> tuple[int, str, str]:
    """Return the HTTP status, the message and the hint of an error. Nothing of an unexpected error is shown: the
    server's messages have it."""
    if isinstance(error, HTTPException):
        return error.status_code, error.detail, ""
    if isinstance(error, RekindleError):
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 400)
        return status, error.message, error.hint
    if isinstance(error, OverflowError):
        return 400, "a number is too large", ""
    if isinstance(error, UnicodeEncodeError):
        return 400, "a text is not valid: names of jobs, values and notes are UTF-8", ""
    return 500, "the server failed", "the server's messages say more"
