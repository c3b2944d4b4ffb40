"""Looking at dynamic actions: who added a job, what is done to it, what an attempt has in force."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.domain.acting import ActingSet, Patch
from rekindle.engine.session import Session
from rekindle.store.port_attempts import Adder


def adders(session: Session, jobs: Sequence[int]) -> dict[int, Adder]:
    """Which attempts added these jobs; those of the spec are missing from the answer."""
    with session.store.read() as archive:
        return archive.acts.adders(jobs)


def patches(session: Session, jobs: Sequence[int]) -> dict[int, list[tuple[Patch, int]]]:
    """What actions in force do to these jobs, in order, each with the attempt whose it is."""
    with session.store.read() as archive:
        return archive.acts.patches(jobs)


def in_force(session: Session, jobs: Sequence[int]) -> dict[int, ActingSet]:
    """What the actions of these jobs have brought and that is in force, by job."""
    with session.store.read() as archive:
        return archive.acts.in_force(jobs)
