"""Findings of checks, and running checks at once within a time limit."""

from __future__ import annotations

import enum
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rekindle.domain.errors import RekindleError

T = TypeVar("T")

CHECK_SECONDS = 5.0
"""How long a check may take."""


class Status(enum.StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"  # works, but not well, or not for long
    PROBLEM = "problem"
    NOT_USED = "not used"


class Finding(msgspec.Struct, frozen=True):
    """What a check has found, in one sentence, and a command or act that helps."""

    status: Status
    text: str
    todo: str = ""


class Installation:
    """What the checks look at. `location` is the path or URL of the store, or None if there is none; `address` that of
    a Dask scheduler."""

    def __init__(
        self,
        location: str | None,
        address: str | None = None,
        port: int = 8642,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.location, self.address, self.port = location, address, port
        self.folder, self.environment, self.clock = folder or Path.cwd(), environment, clock
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}

    def once(self, name: str, read: Callable[[], T]) -> T:
        """Return what `read` returns; call it once for all checks."""
        with self._lock:
            if name not in self._facts:
                self._facts[name] = read()
            found: T = self._facts[name]
            return found


Check = Callable[[Installation], Finding]
"""Looks at one thing, and writes nothing. A RekindleError or OSError that it raises is a problem."""


class Checked(msgspec.Struct, frozen=True):
    """A check by its name, with what it has found and the seconds it took."""

    name: str
    finding: Finding
    seconds: float


def ok(text: str) -> Finding:
    """Return that all is well."""
    return Finding(Status.OK, text)


def not_used(text: str, todo: str = "") -> Finding:
    """Return that something is not used."""
    return Finding(Status.NOT_USED, text, todo)


def run_checks(
    checks: Sequence[tuple[str, Check]], place: Installation, seconds: float = CHECK_SECONDS
) -> list[Checked]:
    """Run all checks at once, and return their findings in the same order. A check that takes too long is a problem."""
    found: dict[str, Checked] = {}
    threads = [
        threading.Thread(target=_run, args=(name, check, place, found), name=f"check {name}", daemon=True)
        for name, check in checks
    ]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, limit - time.monotonic()))
    slow = Finding(Status.PROBLEM, f"no answer within {seconds:g} s", "try again when the machine is less busy")
    return [found.get(name) or Checked(name, slow, seconds) for name, _ in checks]


def _run(name: str, check: Check, place: Installation, found: dict[str, Checked]) -> None:
    began = time.monotonic()
    try:
        finding = check(place)
    except RekindleError as error:
        finding = Finding(Status.PROBLEM, error.message, error.hint)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        finding = Finding(Status.PROBLEM, f"{where}{error.strerror or error}")
    found[name] = Checked(name, finding, time.monotonic() - began)
