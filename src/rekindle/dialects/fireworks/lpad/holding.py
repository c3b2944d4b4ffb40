"""`lpad defuse…`, `reignite…`, `pause…` and `resume…`: holds, for the reasons that this dialect knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from rekindle.dialects.fireworks.holds import defuse, pause, reignite, resume
from rekindle.dialects.fireworks.lpad.asking import agreed
from rekindle.dialects.fireworks.lpad.options import firework_options, password_option, workflow_options
from rekindle.dialects.fireworks.lpad.printing import tell, tell_left
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_meant, workflows_meant
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.fireworks.standing import Standing, fireworks_of, standing
from rekindle.dialects.opening import reconciled
from rekindle.domain.errors import Refused
from rekindle.engine.session import Session


@click.command(cls=Command)
@firework_options
@password_option
def defuse_fws(password: str | None, **words: Any) -> None:
    """Defuse fireworks: they do not run until they are reignited.

    One that has completed or runs is reset first, with what needs it; what runs is ended.

    \b
    Example:
      rekindle lpad defuse_fws -i 3
      rekindle lpad defuse_fws -s FIZZLED
    """
    _on_fireworks("defuse", "defusing", defuse, password, words)


@click.command(cls=Command)
@firework_options
@password_option
def reignite_fws(password: str | None, **words: Any) -> None:
    """Reignite fireworks that are defused.

    What had fizzled before stays so, and what waits for others goes on waiting.

    \b
    Example:
      rekindle lpad reignite_fws -i 3
    """
    _on_fireworks("reignite", "reigniting", reignite, password, words)


@click.command(cls=Command)
@firework_options
@password_option
def pause_fws(password: str | None, **words: Any) -> None:
    """Pause fireworks: they do not start until they are resumed.

    What needs them waits; others go on.

    \b
    Example:
      rekindle lpad pause_fws -n relax
    """
    _on_fireworks("pause", "pausing", pause, password, words)


@click.command(cls=Command)
@firework_options
@password_option
def resume_fws(password: str | None, **words: Any) -> None:
    """Resume fireworks that are paused.

    \b
    Example:
      rekindle lpad resume_fws -s PAUSED
    """
    _on_fireworks("resume", "resuming", resume, password, words)


@click.command(cls=Command)
@click.option("--defuse_all_states", is_flag=True, help="Those that have completed or fizzled too.")
@workflow_options
@password_option
def defuse_wflows(defuse_all_states: bool, password: str | None, **words: Any) -> None:
    """Defuse workflows: nothing of them starts until they are reignited.

    \b
    Example:
      rekindle lpad defuse_wflows -i 3
    """
    spared = () if defuse_all_states else ("COMPLETED", "FIZZLED")
    _on_workflows("defuse", "defusing", defuse, password, words, spared)
    if not defuse_all_states:
        tell(
            "Note: FIZZLED and COMPLETED FWs were not defused. "
            "Use the --defuse_all_states option to force this (or rerun FIZZLED FWs first)."
        )


@click.command(cls=Command)
@workflow_options
@password_option
def reignite_wflows(password: str | None, **words: Any) -> None:
    """Reignite the defused fireworks of workflows.

    \b
    Example:
      rekindle lpad reignite_wflows -n demo
    """
    _on_workflows("reignite", "reigniting", reignite, password, words)


@click.command(cls=Command)
@workflow_options
@password_option
def pause_wflows(password: str | None, **words: Any) -> None:
    """Pause workflows: nothing of them starts until it is resumed.

    \b
    Example:
      rekindle lpad pause_wflows -n demo
      rekindle lpad resume_fws -s PAUSED
    """
    _on_workflows("pause", "pausing", pause, password, words, ("COMPLETED", "FIZZLED", "DEFUSED", "RUNNING"))


_Act = Callable[[Session, Sequence[Standing]], dict[int, str]]
"""Does it, and answers which are left as they are, and why."""


def _on_fireworks(what: str, doing: str, act: _Act, password: str | None, words: dict[str, Any]) -> None:
    with reconciled() as session:
        ids = fireworks_meant(session, Asked(**words), what)
        agreed(ids, password)
        fireworks = standing(session, ids)
        refused = act(session, fireworks)
    tell_refused({one.id: one.job.name for one in fireworks}, refused, doing)
    tell(f"Finished {doing} {len(fireworks) - len(refused)} FWs")


def _on_workflows(
    what: str, doing: str, act: _Act, password: str | None, words: dict[str, Any], spared: Sequence[str] = ()
) -> None:
    with reconciled() as session:
        chosen = workflows_meant(session, Asked(**words), what)
        agreed(chosen, password)
        fireworks = standing(session, fireworks_of(session, chosen))
        act(session, [one for one in fireworks if one.word not in spared])
    tell(f"Finished {doing} {len(chosen)} WFs")


def tell_refused(names: dict[int, str], refused: dict[int, str], doing: str) -> None:
    """Which are left as they are, and why; Refused where these are all."""
    tell_left(list(refused.items()), names)
    if refused and len(refused) == len(names):
        raise Refused(f"no firework is left for {doing}: nothing is changed", hint="`lpad get_fws -i …` shows them")
