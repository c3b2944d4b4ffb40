"""Tokens of the HTTP interface. The store keeps their digests only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.store.queries import load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("tokens")


class ApiToken(msgspec.Struct, frozen=True):
    """A token, without its secret. Times are in seconds since the epoch."""

    id: int
    scopes: tuple[str, ...]
    created: float
    last_used: float | None = None
    revoked: float | None = None
    name: str = ""


class Tokens:
    """The tokens of a store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, digest: str, scopes: Iterable[str], now: float, name: str) -> int:
        """Insert a token, and return its id."""
        return self._db.insert(SQL["insert_token"], digest=digest, scopes=",".join(scopes), created=now, name=name)

    def listing(self) -> list[ApiToken]:
        """Return all tokens, oldest first."""
        return [_token(row) for row in self._db.named_rows(SQL["tokens"])]

    def find(self, digest: str) -> ApiToken | None:
        """Return the token with this digest, unless it has been revoked."""
        rows = [*self._db.named_rows(SQL["token_by_digest"], digest=digest)]
        return _token(rows[0]) if rows else None

    def use(self, token: int, now: float) -> None:
        """Record that a token is used."""
        self._db.change(SQL["use_token"], id=token, at=now)

    def revoke(self, token: int, now: float) -> bool:
        """Revoke a token. Return False if there is none, or it has been revoked already."""
        return self._db.change(SQL["revoke_token"], id=token, at=now) == 1


def _token(row: Any) -> ApiToken:
    return ApiToken(row.id, tuple(row.scopes.split(",")), row.created, row.last_used, row.revoked, row.name)
