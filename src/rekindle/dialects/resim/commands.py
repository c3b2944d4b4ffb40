"""`rekindle resim`: ReSim's own commands, over the local store."""

from __future__ import annotations

import click

from rekindle.dialects.resim.creating import create, run
from rekindle.dialects.resim.entering import EndsWithOne
from rekindle.dialects.resim.looking import cancel, get, logs, tests
from rekindle.dialects.resim.rerunning import rerun
from rekindle.dialects.resim.supervising import supervise
from rekindle.dialects.resim.waiting import wait

_SIGNING_IN = ("--url", "--auth-url", "--client-id", "--client-secret")
_GROUPS = {"batch": "batches", "test-suite": "test-suites", "suites": "test-suites", "suite": "test-suites"}


@click.group(cls=EndsWithOne, also=_GROUPS, anywhere=_SIGNING_IN)
@click.option("--url", metavar="URL", expose_value=False, help="Without effect, as the next three: there is no server.")
@click.option("--auth-url", metavar="URL", expose_value=False, help="Without effect.")
@click.option("--client-id", metavar="ID", expose_value=False, help="Without effect.")
@click.option("--client-secret", metavar="SECRET", expose_value=False, help="Without effect.")
def resim() -> None:
    """Speak ReSim: its commands for batches of tests.

    \b
    Example:
      rekindle resim batches create --project car --build-id planner-7 --experience-tags nightly
      rekindle resim batches supervise --batch-id 3 --rerun-on-states Error
      rekindle resim batches rerun --batch-id 3 --test-ids 7,8
    """


@click.group(cls=EndsWithOne, also={"jobs": "tests"})
def batches() -> None:
    """Create, look at, wait for, rerun and supervise batches.

    A batch is a workflow, and its ID the workflow's; a test is a job, and its ID the job's. Any workflow will do:
    aggregates are its batch metrics.

    \b
    Example:
      rekindle resim batches get --batch-id 3
      rekindle resim batches tests --batch-id 3
    """


@click.group("test-suites", cls=EndsWithOne)
def suites() -> None:
    """Run test suites of the file.

    \b
    Example:
      rekindle resim test-suites run --project car --test-suite nightly --build-id planner-7
    """


for _command in (create, get, tests, wait, logs, cancel, rerun, supervise):
    batches.add_command(_command)
suites.add_command(run)
resim.add_command(batches)
resim.add_command(suites)
