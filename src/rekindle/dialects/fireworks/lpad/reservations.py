"""What FireWorks does with queues: `lpad get_qids`, `cancel_qid`, `recover_offline` and `forget_offline`."""

from __future__ import annotations

from typing import Any

import click

from rekindle.dialects.fireworks.lpad.options import firework_options, password_option
from rekindle.dialects.fireworks.lpad.printing import tell
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_meant
from rekindle.dialects.fireworks.lpad.typed import Command, Several
from rekindle.dialects.opening import opened
from rekindle.domain.errors import Refused


@click.command(cls=Command)
@click.option("-i", "--fw_id", "ids", cls=Several, ids=True, required=True, metavar="IDS", help="Of these fireworks.")
def get_qids(ids: tuple[str, ...]) -> None:
    """Print the queue's ids of fireworks: None, before Slurm is spoken.

    \b
    Example:
      rekindle lpad get_qids -i 1
    """
    with opened() as session:
        for _ in fireworks_meant(session, Asked(ids), "look up"):
            click.echo("None")


@click.command(cls=Command)
@click.option("--qid", metavar="ID", help="The reservation.")
def cancel_qid(qid: str | None) -> None:  # noqa: ARG001 (kept for when there are queues)
    """Cancel a reservation: not yet.

    \b
    Example:
      rekindle lpad cancel_qid --qid 1234
    """
    raise Refused("no reservation is canceled: Slurm is not spoken yet", hint="`rekindle cancel` ends what runs here")


@click.command(cls=Command)
@click.option("-i", "--ignore_errors", is_flag=True, help="Taken, and has no effect.")
@click.option("-w", "--fworker_file", metavar="FILE", help="Taken, and has no effect.")
@click.option("-pe", "--print-errors", is_flag=True, help="Taken, and has no effect.")
def recover_offline(**_: object) -> None:
    """Take in what ran without a runner: whoever works does that by itself, and here it is done at once.

    \b
    Example:
      rekindle lpad recover_offline
    """
    from rekindle.dialects.fireworks.losing import gone, take_in

    with opened() as session:
        found = gone(session)
        recovered = sorted(found.finished)
        if recovered:
            take_in(session, recovered)
    tell(f"FINISHED recovering offline runs. {len(recovered)} job(s) recovered: {recovered}")


@click.command(cls=Command)
@firework_options
@password_option
def forget_offline(password: str | None, **words: Any) -> None:  # noqa: ARG001 (kept: nothing is changed)
    """Forget offline launches: there are none.

    \b
    Example:
      rekindle lpad forget_offline -i 1
    """
    with opened() as session:
        ids = fireworks_meant(session, Asked(**words), "forget")
    tell(f"Finished forget_offline, processed {len(ids)} FWs")
