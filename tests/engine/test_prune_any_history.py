"""Property test: random histories with prunes at random moments, some of which die while they remove files.

Whatever is asked afterwards is answered, or refused with a named error; the store stays sound; nothing that is live, or
that a live attempt or a job builds on, is removed."""

from __future__ import annotations

from typing import Any

from any_history import EDGES, OPERATIONS, history
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


@settings(phases=(Phase.generate,), max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edges=EDGES, operations=st.lists(OPERATIONS, min_size=3, max_size=9))
def test_after_any_history_with_prunes_all_is_answered_or_refused_by_name(
    edges: set[tuple[int, int]], operations: list[tuple[Any, ...]]
) -> None:
    with history(edges) as one:
        for name, *arguments in [("run", frozenset({0, 1})), *operations]:
            getattr(one, name)(*arguments)
            one.check()
        one.run(frozenset())  # what an undo or a resume point needs is still there
        one.check()
