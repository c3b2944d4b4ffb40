"""Commands for launches without the store: `reserve`, `recover_offline` and `forget_offline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.fireworks.firework_operations import LostRuns, find_lost_runs, resolve_lost_runs
from rekindle.dialects.fireworks.lpad.messages import confirm_change, print_message, print_note
from rekindle.dialects.fireworks.lpad.options import (
    FireworkFilter,
    LpadCommand,
    firework_options,
    password_option,
    required_fireworks,
)
from rekindle.dialects.fireworks.offline import (
    FORGOTTEN,
    OFFLINE_FILE,
    offline_launches,
    recover,
    reserve_firework,
    set_up,
)
from rekindle.dialects.fireworks.rocket_launcher import FWorker, read_fworker
from rekindle.domain.errors import NotFound, Refused
from rekindle.engine.queries import job_queries
from rekindle.engine.running.detached import release

_fworker_option = click.option(
    "-w",
    "--fworker_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Describes the machine: only fireworks and launches of this fworker.",
)


@click.command(cls=LpadCommand)
@click.option("-i", "--fw_id", type=int, metavar="ID", help="Reserve this firework. [default: the first ready one]")
@click.option(
    "--launch_dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="The folder of the launch, made if it is missing. [default: the working directory]",
)
@_fworker_option
def reserve(fw_id: int | None, launch_dir: Path, fworker_file: Path | None) -> None:
    """Reserve a firework, and set up a folder in which it is launched without the store.

    The folder gets FW.json and FW_offline.json. Run `rlaunch singleshot --offline` in it, on any machine that sees the
    folder. Then `lpad recover_offline` records what became of the launch.

    \b
    Example:
      rekindle lpad reserve -i 3 --launch_dir launch_3
      (cd launch_3 && rekindle rlaunch singleshot --offline)
      rekindle lpad recover_offline
    """
    fworker = FWorker() if fworker_file is None else read_fworker(fworker_file)
    directory = launch_dir.absolute()
    if (directory / OFFLINE_FILE).exists():
        raise Refused(f"there is an {OFFLINE_FILE} in {directory} already", hint="--launch_dir names another folder")
    with open_reconciled() as session:
        order = reserve_firework(session, fworker.filter, fworker.name, directory, fw_id)
        if order is None:
            if fw_id is not None and not job_queries.jobs(session, [fw_id]):
                raise NotFound(f"FW with id: {fw_id} not found!", hint="`lpad get_fws -d ids` lists them")
            raise Refused("No FireWorks are ready to run and match query!", hint="`lpad get_fws -s READY` lists them")
        directory.mkdir(parents=True, exist_ok=True)
        set_up(session, order, directory)
    one = order.assignment
    print_message(f"RESERVED FW with id: {one.job}, launch_id: {one.attempt}, in directory: {directory}")


@click.command(cls=LpadCommand)
@click.option(
    "-i", "--ignore_errors", is_flag=True, help="Leave a firework RESERVED if the files of its launch are gone."
)
@_fworker_option
@click.option("-pe", "--print-errors", is_flag=True, help="Print why launches cannot be recovered.")
def recover_offline(ignore_errors: bool, fworker_file: Path | None, print_errors: bool) -> None:
    """Record what offline launches have done: how they began and ended. Those that still run stay as they are.

    Also record the ends of launches whose runner is gone, as any runner does by itself.

    \b
    Example:
      rekindle lpad recover_offline
    """
    fworker = None if fworker_file is None else read_fworker(fworker_file).name
    with open_store() as session:
        found = recover(session, offline_launches(session, fworker=fworker), ignore_errors=ignore_errors)
        lost = find_lost_runs(session)
        resolve_lost_runs(session, LostRuns({}, lost.finished), refresh=True)
    recovered = sorted({*found.ended, *lost.finished})
    print_message(f"FINISHED recovering offline runs. {len(recovered)} job(s) recovered: {recovered}")
    if found.running:
        print_message(f"Still running offline: {sorted(found.running)}")
    if found.failed:
        print_message(f"FAILED to recover offline fw_ids: {sorted(job for _, job, _ in found.failed)}")
    for launch, _, why in found.failed if print_errors else ():
        print_note(f"failed recovering launch_id={launch}: {why}")


@click.command(cls=LpadCommand)
@firework_options
@password_option
def forget_offline(password: str | None, **filters: Any) -> None:
    """Give up offline launches whose results are not expected any more.

    One that has not started never starts, and its firework is READY again. One that runs is FIZZLED, and what it
    reports later is ignored.

    \b
    Example:
      rekindle lpad forget_offline -i 1
    """
    with open_reconciled() as session:
        ids = required_fireworks(session, FireworkFilter(**filters), "forget")
        confirm_change(ids, password)
        found = [one.id for one in offline_launches(session, ids)]
        if found:
            release(session, found, FORGOTTEN)
    print_message(f"Finished forget_offline, processed {len(ids)} FWs")
