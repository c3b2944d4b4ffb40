"""Who may do what: API tokens in a header, and console sessions in a cookie. Each request needs one, reads too.

A console session begins with the one-time link that `rekindle serve` prints, or with an API token that is typed into
the login page. Its cookie holds a random secret, which the server keeps as a digest and in memory: all sessions end
with the server. See docs/explanation/security.md for the threats that this answers."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException

from rekindle.engine.api_tokens import find_token
from rekindle.web.peers import peer_user

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rekindle.web.readers import Readers

CONSOLE_SCOPES = frozenset({"read", "rerun", "submit"})
"""What the one-time link allows. Only pilots need the other scope."""

SESSION_SECONDS = 12 * 3600.0
"""How long a console session lasts without a request."""

LONGEST_SESSION_SECONDS = 7 * 86400.0
"""How long a console session lasts at most."""

TOKEN_SECONDS = 2.5
"""How long a token that was checked counts as valid: a revoked one is refused after that."""

LINK_SECONDS = 600.0
"""How long the one-time link works."""

MOST_SESSIONS = 1_000
_FAILURES_BEFORE_DELAY, _FAILURE_SECONDS = 10, 60.0


class Principal(msgspec.Struct, frozen=True):
    """Who makes a request. `name` is recorded with what is written."""

    name: str
    scopes: frozenset[str]


class _Login(msgspec.Struct):
    """A console session. Times are monotonic seconds. `token` is None for the one-time link."""

    principal: Principal
    token: str | None
    user: int | None  # whose process logged in, if that is on this host
    began: float
    used: float

    def is_over(self, now: float) -> bool:
        """Return whether it has ended."""
        return now - self.used > SESSION_SECONDS or now - self.began > LONGEST_SESSION_SECONDS


class Access:
    """Checks the requests of one server. Its methods run in the server's event loop only."""

    def __init__(self, readers: Readers, store_identity: str, *, read_only: bool) -> None:
        self._readers, self.read_only = readers, read_only
        self._name = f"rekindle-{_digest(store_identity)[:8]}"  # cookies do not tell ports, and so stores, apart
        self._logins: dict[str, _Login] = {}  # by the digest of the cookie's secret
        self._tokens: dict[str, tuple[Principal, float]] = {}  # by digest: valid until then
        self._once: str | None = None
        self._once_until = 0.0
        self._failures: list[float] = []  # when logins failed

    def one_time_secret(self) -> str:
        """Return a new secret for one login. It replaces an unused one."""
        secret = secrets.token_urlsafe(32)
        self._once, self._once_until = _digest(secret), time.monotonic() + LINK_SECONDS
        return secret

    async def require(self, request: Request, scope: str) -> Principal:
        """Return who makes a request. Raise HTTPException 401 if nobody known does, and 403 without the scope."""
        principal = await self.principal(request)
        if principal is None:
            if "authorization" in request.headers:
                raise HTTPException(403, f"the token is not valid for {scope}")
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
        if scope not in principal.scopes:
            raise HTTPException(403, f"the token is not valid for {scope}")
        if self.read_only and scope != "read":
            raise HTTPException(403, "the server is read-only")
        return principal

    async def principal(self, request: Request) -> Principal | None:
        """Return who makes a request; None: nobody known. A bearer token counts before a cookie."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            return await self._of_token(token) if kind.lower() == "bearer" and token else None
        login = self._login(request)
        if login is None or login.user != peer_user(request.scope) or not await self._in_force(login):
            return None
        login.used = time.monotonic()
        return login.principal

    async def still_allows(self, request: Request) -> bool:
        """Return whether the token or session of a request that goes on is in force. That does not count as a use."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            return await self._of_token(token) is not None
        login = self._login(request)
        return login is not None and await self._in_force(login)

    async def _in_force(self, login: _Login) -> bool:
        """Return whether the token of a session is in force. If it is not, end the session."""
        if login.token is None or await self._of_token(login.token) is not None:
            return True
        self._logins = {key: one for key, one in self._logins.items() if one is not login}
        return False

    def log_in_once(self, request: Request, secret: str) -> str | None:
        """Return the cookie's secret of a new session for the secret of the one-time link; None: it is not valid."""
        is_right = self._once is not None and hmac.compare_digest(self._once, _digest(secret))
        if not is_right or time.monotonic() > self._once_until:
            self._count_failure(request)
            return None
        self._once = None
        scopes = {"read"} if self.read_only else CONSOLE_SCOPES
        return self._add(request, Principal("console", frozenset(scopes)), None)

    async def log_in_with_token(self, request: Request, token: str) -> str | None:
        """Return the cookie's secret of a new session with the scopes of a token; None: it is not valid."""
        principal = await self._of_token(token.strip())
        if principal is None:
            self._count_failure(request)
            return None
        return self._add(request, principal, token.strip())

    def log_out(self, request: Request) -> None:
        """End the session of a request."""
        for secret in self._secrets(request):
            self._logins.pop(_digest(secret), None)

    def set_cookie(self, request: Request, response: Response, secret: str) -> None:
        """Set the cookie of a session: not readable by scripts, and sent by this site's own pages only."""
        name, secure = self._cookie(request), request.url.scheme == "https"
        response.set_cookie(name, secret, httponly=True, samesite="strict", path="/", secure=secure)

    def delete_cookie(self, request: Request, response: Response) -> None:
        """Delete the cookie of a session."""
        response.delete_cookie(self._cookie(request), path="/", secure=request.url.scheme == "https")

    def _cookie(self, request: Request) -> str:
        """Return the cookie's name. Over TLS no other host can set a cookie of it."""
        return f"__Host-{self._name}" if request.url.scheme == "https" else self._name

    def _secrets(self, request: Request) -> list[str]:
        return _cookies(request.headers.getlist("cookie"), self._cookie(request))

    def _login(self, request: Request) -> _Login | None:
        given = self._secrets(request)
        if len(given) != 1:  # a second one of this name was planted by another site of this host
            return None
        found = self._logins.get(_digest(given[0]))
        return None if found is None or found.is_over(time.monotonic()) else found

    def _add(self, request: Request, principal: Principal, token: str | None) -> str:
        self.log_out(request)  # a session that was there before is not taken over
        now = time.monotonic()
        left = sorted((one.used, key) for key, one in self._logins.items() if not one.is_over(now))
        self._logins = {key: self._logins[key] for _, key in left[-MOST_SESSIONS + 1 :]}
        secret = secrets.token_urlsafe(32)
        _LOG.info("%s has logged in from %s", principal.name, _address(request))
        self._logins[_digest(secret)] = _Login(principal, token, peer_user(request.scope), now, now)
        return secret

    async def _of_token(self, token: str) -> Principal | None:
        digest, now = _digest(token), time.monotonic()
        known = self._tokens.get(digest)
        if known is not None and known[1] > now:
            return known[0]
        found = await self._readers.run(lambda session: find_token(session, token))
        self._tokens = {key: one for key, one in self._tokens.items() if one[1] > now}
        if found is None:
            return None
        principal = Principal(found.name or f"token {found.id}", frozenset(found.scopes))
        self._tokens[digest] = principal, now + TOKEN_SECONDS
        return principal

    def _count_failure(self, request: Request) -> None:
        """Log a failed login. Raise HTTPException 429 when too many have failed within a minute."""
        now = time.monotonic()
        self._failures = [at for at in self._failures if now - at < _FAILURE_SECONDS][-_FAILURES_BEFORE_DELAY:]
        self._failures.append(now)
        if len(self._failures) > _FAILURES_BEFORE_DELAY:
            raise HTTPException(429, "too many logins have failed: wait a minute", {"Retry-After": "60"})
        _LOG.warning("a login from %s has failed", _address(request))


_LOG = logging.getLogger(__name__)


def _address(request: Request) -> str:
    return request.client.host if request.client else "an unknown address"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _cookies(headers: Iterable[str], name: str) -> list[str]:
    """Return the values of all cookies of a name."""
    found = []
    for pair in ";".join(headers).split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            found.append(value)
    return found
