"""Alerts of an instance: tasks that failed or were halted, and the command that acknowledges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from rekindle.dialects.command_session import open_store
from rekindle.dialects.ziggy.options import find_instance, instance_option, selected_tasks, tasks_option
from rekindle.dialects.ziggy.tasks import read_tasks
from rekindle.domain.states import ENDED_BADLY, Cause
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import control

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, LoggedEvent
    from rekindle.engine.session import Session

ACKNOWLEDGED = "acknowledged in Ziggy's console"
HALTED = "halted in Ziggy's console"


class Alert(msgspec.Struct, frozen=True):
    """A task failed, or was halted. It stays when the task is restarted."""

    at: float
    task: int
    name: str
    severity: str
    message: str
    acknowledged: float | None = None


def read_alerts(session: Session, instance: int) -> list[Alert]:
    """Return the alerts of an instance, oldest first."""
    attempts = job_queries.attempts(session, None, instance)
    events = workflow_queries.events(session, str(instance))
    seen = [(one.at, set(one.detail["first"])) for one in events if one.kind == "acknowledged"]
    raised = [*_failures(attempts), *_halted_while_waiting(attempts, events)]
    names = {one.id: one.name for one in read_tasks(session, sorted({task for _, task, _, _ in raised}))}
    return [
        Alert(
            at,
            task,
            names[task],
            severity,
            message,
            next((when for when, of in seen if task in of and at <= when), None),
        )
        for at, task, severity, message in sorted(raised)
    ]


_Raised = tuple[float, int, str, str]
"""An alert: time, task, severity, message."""


def _failures(attempts: Sequence[Attempt]) -> list[_Raised]:
    """Return an alert for every attempt that failed or was halted, also if a rerun has replaced it."""
    return [
        (one.ended or 0.0, one.job, "HALTED" if one.cause is Cause.CANCELED else "ERROR", _failure_text(one))
        for one in attempts
        if one.state in ENDED_BADLY
    ]


def _halted_while_waiting(attempts: Sequence[Attempt], events: Sequence[LoggedEvent]) -> list[_Raised]:
    """Return an alert for every task that was halted while it waited."""
    halted = [(one.at, job) for one in events if one.kind == "canceled" for job in one.detail["first"]]
    under_way: dict[int, list[Attempt]] = {}
    for one in attempts:
        under_way.setdefault(one.job, []).append(one)
    return [
        (at, job, "HALTED", "halted before it started")
        for at, job in halted
        if not any(_was_under_way(one, at) for one in under_way.get(job, ()))
    ]


def _was_under_way(attempt: Attempt, at: float) -> bool:
    began = attempt.queued or attempt.started or 0.0
    return began <= at and (attempt.ended is None or at <= attempt.ended)


def _failure_text(attempt: Attempt) -> str:
    cause = attempt.cause.value if attempt.cause else ""
    code = f" {attempt.exit_code}" if attempt.cause is Cause.EXIT else ""
    message = attempt.failure.message if attempt.failure else ""
    return f"{cause}{code}" + (f": {message}" if message else "")


@click.command()
@instance_option
@tasks_option
def acknowledge(instance: str | None, task: tuple[str, ...]) -> None:
    """Acknowledge the alerts of the given tasks, or of an instance. A task that fails later raises a new one.

    \b
    Example:
      rekindle ziggy console acknowledge --instance 2
      rekindle ziggy console acknowledge --task 3,4
    """
    with open_store() as session:
        chosen = set(selected_tasks(session, instance, task))
        tasks: Mapping[int, int] = {one.id: one.instance for one in read_tasks(session, sorted(chosen))}
        instances = set(tasks.values()) if instance is None else {find_instance(session, instance).id}
        alerts = [
            one
            for number in sorted(instances)
            for one in read_alerts(session, number)
            if one.task in chosen and one.acknowledged is None
        ]
        if alerts:
            control.acknowledge(session, sorted({one.task for one in alerts}), ACKNOWLEDGED)
    click.echo(f"{len(alerts):,} alert(s) acknowledged" if alerts else "no alert is left to acknowledge")
