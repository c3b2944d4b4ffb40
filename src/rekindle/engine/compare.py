"""Comparing two attempts, each with the definition that it ran."""

from __future__ import annotations

from rekindle.domain.differences import Difference, differences
from rekindle.domain.models import Attempt
from rekindle.engine import look
from rekindle.engine.session import Session


def compare(session: Session, a: int, b: int) -> tuple[Attempt, Attempt, list[Difference]]:
    """Both attempts by their ids, and what differs between them. NotFound names one that is not there."""
    one, other = look.attempt(session, a), look.attempt(session, b)
    with session.store.read() as archive:
        defined = [archive.workflows.template(attempt.template) for attempt in (one, other)]
    return one, other, differences(one, other, *defined)
