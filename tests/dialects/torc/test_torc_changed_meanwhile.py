"""A job changes in another process between any two transactions of a command that selects jobs by their state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torc_folder import Torc

from rekindle.domain.states import State


def test_a_job_that_has_completed_since_is_not_reset_as_failed(
    failing: Torc, interruptions: Callable[..., Iterator[Any]]
) -> None:
    for one in interruptions(failing.folder, "worse"):
        assert failing("workflows", "reset-status", "--failed-only").code in (0, 1)
        if one.changed:
            assert one.found().state is State.COMPLETED
            assert one.found().held is None
