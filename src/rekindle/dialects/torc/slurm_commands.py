"""`torc hpc slurm schedule-nodes`: jobs of Slurm that run the ready jobs of a workflow."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_reconciled
from rekindle.dialects.torc.spec_store import stored_spec
from rekindle.dialects.torc.torc_group import TorcGroup
from rekindle.dialects.torc.torc_options import print_json, selected_workflow, torc_options
from rekindle.domain.errors import NotFound
from rekindle.engine import pilots
from rekindle.engine.slurm_options import read_options

if TYPE_CHECKING:
    from collections.abc import Mapping

_SBATCH = {
    **{name: f"--{name}" for name in ("account", "partition", "qos", "mem", "tmp", "gres", "reservation")},
    "walltime": "--time",
}
"""The option of sbatch for each word of a scheduler in a spec."""


@click.group(cls=TorcGroup)
def hpc() -> None:
    """Run jobs on a cluster.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """


@hpc.group()
def slurm() -> None:
    """Run jobs under Slurm.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """


@slurm.command("schedule-nodes")
@click.argument("key", required=False, metavar="[WORKFLOW_KEY]")
@click.option("-n", "--num-hpc-jobs", type=click.IntRange(min=1), default=1, help="How many Slurm jobs.")
@click.option("-j", "--job-prefix", help="Accepted and ignored: the store is in their names.")
@click.option("-c", "--cpu-affinity-cpus-per-job", type=int, help="Accepted and ignored: Slurm binds its jobs.")
@click.option("-s", "--scheduler-config-key", "--scheduler", "scheduler", help="The name of a scheduler of the spec.")
@click.option("-p", "--poll-interval", type=float, help="Accepted and ignored: nothing is polled.")
@click.option("-o", "--output", type=click.Path(), help="Accepted and ignored: output is in the store.")
@click.option("-m", "--max-parallel-jobs", type=click.IntRange(min=1), help="How many jobs run at once on a node.")
@click.option("-k", "--keep-submission-scripts", is_flag=True, help="Accepted and ignored: they are kept.")
@click.option("-S", "--start-one-worker-per-node", is_flag=True, help="Accepted and ignored: each node has one.")
def schedule_nodes(
    key: str | None, num_hpc_jobs: int, scheduler: str | None, max_parallel_jobs: int | None, **_: Any
) -> None:
    """Submit Slurm jobs that run the ready jobs of a workflow.

    The account, partition, time and so on are those of the spec's scheduler.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """
    with open_reconciled() as session:
        workflow = selected_workflow(session, key)
        described = _scheduler(json.loads(stored_spec(session, workflow)).get("slurm_schedulers") or [], scheduler)
        size = read_options(_sbatch_words(described))
        options = pilots.PilotOptions(
            count=num_hpc_jobs * int(described.get("nodes") or 1),
            workflow=workflow.id,
            cpus=size.cpus,
            memory=size.memory,
            gpus=size.gpus,
            seconds=size.seconds,
            options=size.others,
            work=() if max_parallel_jobs is None else ("--jobs", str(max_parallel_jobs)),
            server=os.environ.get(pilots.SERVER_VARIABLE),
        )
        planned = pilots.plan_pilots(session, options)
        handle = pilots.submit_pilots(session, planned, pilots.slurm_placement())
    number, nodes = handle.partition(":")[0], planned.batch.elements
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "slurm_job_id": number, "num_hpc_jobs": nodes})
    else:
        click.echo(f"Scheduled {nodes} Slurm job{'' if nodes == 1 else 's'}, id {number}")


def _scheduler(schedulers: list[dict[str, Any]], name: str | None) -> Mapping[str, Any]:
    """Return the scheduler of that name; without a name the first, or none if the spec has none."""
    if name is None:
        return schedulers[0] if schedulers else {}
    for one in schedulers:
        if one.get("name") == name:
            return one
    names = ", ".join(str(one.get("name")) for one in schedulers) or "none"
    raise NotFound(f"the spec has no scheduler {name!r}", hint=f"its schedulers: {names}")


def _sbatch_words(scheduler: Mapping[str, Any]) -> list[str]:
    words = [f"{option}={scheduler[word]}" for word, option in _SBATCH.items() if scheduler.get(word) is not None]
    return [*words, *shlex.split(str(scheduler.get("extra") or ""))]
