"""Tokens of the HTTP interface: made, checked, listed and revoked. A token is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rekindle.domain.errors import BadValue, NotFound

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.tokens import ApiToken

SCOPES = ("read", "rerun", "submit", "pilot")
"""What a token may allow."""

TOKEN_PREFIX = "rkt_"
"""How a token begins, so that it is recognized where it should not be."""

MOST_NAME = 80
_USE_SECONDS = 60.0  # a use is recorded once in this time


def new_token(session: Session, scopes: Sequence[str], name: str = "") -> str:
    """Make a token, and return it: the store keeps its digest. `name` is recorded with what the token writes. Raise
    BadValue for an unknown scope, or a name that is too long or not printable."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise BadValue(f"unknown scope {', '.join(unknown) or '(none)'!r}", hint=f"scopes are {', '.join(SCOPES)}")
    if len(name) > MOST_NAME or not name.isprintable():
        raise BadValue(f"the name of a token has at most {MOST_NAME} printable characters")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with session.store.write() as archive:
        archive.tokens.add(_digest(token), dict.fromkeys(scopes), session.clock(), name)
    return token


def find_token(session: Session, token: str) -> ApiToken | None:
    """Return a token that is in force, and record its use; None if there is none."""
    with session.store.read() as archive:
        found = archive.tokens.find(_digest(token))
    if found is None:
        return None
    now = session.clock()
    if found.last_used is None or now - found.last_used > _USE_SECONDS:
        with session.store.write() as archive:
            archive.tokens.use(found.id, now)
    return found


def list_tokens(session: Session) -> list[ApiToken]:
    """Return all tokens without their secrets, oldest first."""
    with session.store.read() as archive:
        return archive.tokens.listing()


def revoke_token(session: Session, token: int) -> None:
    """Revoke a token by its id. Raise NotFound if there is none that is in force."""
    with session.store.write() as archive:
        if not archive.tokens.revoke(token, session.clock()):
            raise NotFound(f"no token {token} is in force", hint="`rekindle token list` shows them")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
