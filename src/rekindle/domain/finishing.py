"""What counts as finished for a job that says `when: finished`: what has ended, however, and what can no longer be
reached. It is derived from how jobs stand, so that a rerun of what failed takes it back."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence


def given_up(ended_badly: Iterable[int], idle: Container[int], children: Mapping[int, Sequence[int]]) -> set[int]:
    """The jobs that will not complete as things stand: those that have failed or were canceled, and, over any number
    of edges, those among `idle` that need one of these. `idle` holds jobs that have no attempt, are not canceled, and
    need all to have completed; what fails and runs again by itself has not failed."""
    found = set(ended_badly)
    level = list(found)
    for job in level:  # grows while it is read
        for child in children.get(job, ()):
            if child in idle and child not in found:
                found.add(child)
                level.append(child)
    return found
