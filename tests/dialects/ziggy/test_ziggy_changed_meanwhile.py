"""A task changes in another process between any two transactions of a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ziggy_sample import Pipeline

from rekindle.domain.states import State


def test_a_task_that_has_changed_since_it_was_read_is_refused(
    failed: Pipeline, interruptions: Callable[..., Iterator[Any]]
) -> None:
    name = next(name for name, state in failed.states().items() if state == "failed")
    refused = 0
    for one in interruptions(failed.folder, name):
        done = failed.rekindle("ziggy", "console", "restart", "--instance", "1", "--restartMode", "resubmit")
        assert done.code in (0, 1), done
        if one.changed and "it has changed since it was selected" in done.err:
            assert one.found().state is State.COMPLETED
            refused += 1
    assert refused
