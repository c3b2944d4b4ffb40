"""`rekindle torc hpc`: what comes with Slurm."""

from __future__ import annotations

from typing import Any

import click

from rekindle.domain.errors import Refused


@click.group()
def hpc() -> None:
    """Run jobs on a cluster: not yet.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """


@hpc.group()
def slurm() -> None:
    """Run jobs under Slurm: not yet.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """


@slurm.command("schedule-nodes")
@click.argument("key", required=False, metavar="[WORKFLOW_KEY]")
@click.option("-n", "--num-hpc-jobs", type=click.IntRange(min=1), default=1, help="How many Slurm jobs.")
@click.option("-j", "--job-prefix", help="What their names begin with.")
@click.option("-c", "--config-key", help="The scheduler's key.")
@click.option("-s", "--scheduler", help="The scheduler of the spec.")
@click.option("-p", "--poll-interval", type=float, help="Seconds between two looks.")
@click.option("-o", "--output", type=click.Path(), help="The folder for what they print.")
@click.option("-m", "--max-parallel-jobs", type=click.IntRange(min=1), help="How many jobs run at once on a node.")
@click.option("--keep-submission-scripts", is_flag=True, help="Keep the scripts that are submitted.")
@click.option("--start-one-worker-per-node", is_flag=True, help="A worker on each node.")
def schedule_nodes(num_hpc_jobs: int, **_: Any) -> None:
    """Submit Slurm jobs that run the ready jobs: not yet.

    \b
    Example:
      rekindle torc hpc slurm schedule-nodes -n 2
    """
    jobs = "a Slurm job is" if num_hpc_jobs == 1 else f"{num_hpc_jobs} Slurm jobs are"
    raise Refused(f"{jobs} not submitted: Slurm is not spoken yet", hint="`torc jobs run` runs the ready jobs here")
