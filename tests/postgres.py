"""A real PostgreSQL server for tests, from Debian's packages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "postgres-server"

_numbers = count(1)


def missing() -> str | None:
    """Return why no server can be started; None if one can."""
    if not sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        return "no PostgreSQL server: scripts/debian-packages installs it as root"
    return None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server whose data are in a folder; yield the URL of its database."""
    subprocess.run([SCRIPT, "start", folder], check=True, capture_output=True, timeout=60)
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, capture_output=True, timeout=60)


def new_store_url(server: str, spool: Path) -> str:
    """Return the URL of a store that does not exist yet."""
    return f"{server}&schema=store_{next(_numbers)}&spool={spool}"
