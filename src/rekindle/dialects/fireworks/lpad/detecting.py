"""`lpad detect_lostruns` and `lpad detect_unreserved`."""

from __future__ import annotations

import click

from rekindle.dialects.fireworks.losing import aged, fizzle, gone, restricted, take_in
from rekindle.dialects.fireworks.lpad.getting import shown
from rekindle.dialects.fireworks.lpad.options import DISPLAYS
from rekindle.dialects.fireworks.lpad.printing import emit, tell
from rekindle.dialects.fireworks.lpad.selecting import parse_query
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.fireworks.queries import select_fireworks
from rekindle.dialects.opening import opened
from rekindle.domain.models import Attempt
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.rerunning import rerun as engine

_DAY = 24 * 3600
_RESERVED_FOR = 14 * _DAY

_display_option = click.option(
    *("-d", "--display_format"),
    type=click.Choice([*DISPLAYS, "none"], case_sensitive=False),
    default=None,
    help="How much is shown of what is found. [default: nothing]",
)


@click.command(cls=Command)
@click.option("--time", "seconds", type=int, default=0, metavar="SECONDS", help="Only what began so long ago.")
@click.option("--fizzle", "fizzles", is_flag=True, help="Let what is lost fizzle.")
@click.option("--rerun", "reruns", is_flag=True, help="Let what is lost run again.")
@click.option("--refresh", is_flag=True, help="Take in what has ended unseen.")
@click.option("--max_runtime", type=int, metavar="SECONDS", help="Only what ran no longer.")
@click.option("--min_runtime", type=int, metavar="SECONDS", help="Only what ran at least so long.")
@click.option("-q", "--query", metavar="JSON", help="Only fireworks that a filter is for.")
@click.option("-lq", "--launch_query", metavar="JSON", help="Only launches that a filter is for.")
@_display_option
def detect_lostruns(
    seconds: int,
    fizzles: bool,
    reruns: bool,
    refresh: bool,
    max_runtime: int | None,
    min_runtime: int | None,
    query: str | None,
    launch_query: str | None,
    display_format: str | None,
) -> None:
    """Find launches of which the process is gone.

    That is known at once: nobody waits for a time to pass. Whoever works next runs them again by itself.

    \b
    Example:
      rekindle lpad detect_lostruns
      rekindle lpad detect_lostruns --rerun
      rekindle lpad detect_lostruns --fizzle --time 3600
    """
    with opened() as session:
        found = gone(session)
        filters = [None if one is None else parse_query(one) for one in (query, launch_query)]
        wanted = restricted(session, [*found.lost, *found.finished], *filters)
        wanted &= aged(session, wanted, max(seconds, min_runtime or 0), max_runtime)
        lost, ended = sorted(wanted & found.lost.keys()), sorted(wanted & found.finished)
        for ids in (lost, ended):
            if display_format not in (None, "none"):
                documents = shown(session, ids, display_format or "less")
                emit(documents[0] if len(documents) == 1 else documents)
        if lost and (fizzles or reruns):
            take_in(session, lost) if reruns else fizzle(session, lost)
        if ended and (refresh or fizzles or reruns):
            take_in(session, ended)
    click.echo("\nDetection completed:")
    click.echo(f"  Lost launches: {len(lost)}\n  Lost FireWorks: {len(lost)}\n  Inconsistent FireWorks: {len(ended)}")
    tell(f"Detected {len(lost)} lost FWs: {lost}")
    tell(f"Detected {len(ended)} inconsistent FWs: {ended}")
    if lost and not (fizzles or reruns):
        click.echo("You can fix lost FWs using the --rerun or --fizzle arguments to the detect_lostruns command")
    if ended and not (refresh or fizzles or reruns):
        click.echo("You can fix inconsistent FWs using the --refresh argument to the detect_lostruns command")


@click.command(cls=Command)
@click.option(
    *("--time", "seconds"),
    type=int,
    default=_RESERVED_FOR,
    metavar="SECONDS",
    help="Handed out at least so long ago. [default: two weeks]",
)
@click.option("--rerun", "reruns", is_flag=True, help="Let them run again.")
@_display_option
def detect_unreserved(seconds: int, reruns: bool, display_format: str | None) -> None:
    """Find launches that were handed out and never started.

    \b
    Example:
      rekindle lpad detect_unreserved --time 3600 --rerun
    """
    with opened() as session:
        now = session.clock()
        ids = select_fireworks(session, {"state": "RESERVED"})
        stale = [one for one in look.attempts(session, ids, live=True) if _reserved_before(one, now - seconds)]
        if display_format not in (None, "none"):
            documents = shown(session, [one.job for one in stale], display_format or "less")
            emit(documents[0] if len(documents) == 1 else documents)
        if reruns and stale:
            jobs = [one.job for one in stale]
            how = How(cancel_running=True)
            engine.plan_and_apply(session, [(jobs, how)], {"selection": {"jobs": jobs}, "how": {"reserved": True}})
    click.echo([one.id for one in stale])


def _reserved_before(attempt: Attempt, at: float) -> bool:
    return attempt.state is State.QUEUED and attempt.queued is not None and attempt.queued <= at
