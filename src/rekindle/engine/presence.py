"""Whether a runner's process is there: decided on one host by boot, pid and start time, at once."""

from __future__ import annotations

from rekindle.domain.models import Runner
from rekindle.journal.processes import boot_id, start_of
from rekindle.store.port import Archive


def is_alive(runner: Runner) -> bool:
    """The very process that registered still runs (a later one with its pid does not count)."""
    return runner.boot_id == boot_id() and start_of(runner.pid) == runner.pid_start


def works_elsewhere(archive: Archive, host: str, now: float) -> bool:
    """A runner on another host than this one holds its lease."""
    return any(runner.host != host and runner.expires > now for runner in archive.runners.alive())
