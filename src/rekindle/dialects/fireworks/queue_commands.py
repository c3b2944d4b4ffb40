"""`rekindle qlaunch`: Slurm jobs that launch fireworks, as a queue adapter file describes them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rekindle.dialects.command_session import open_reconciled
from rekindle.dialects.fireworks.launch_commands import version_option
from rekindle.dialects.fireworks.rocket_launcher import FWORKER_FILE, FWorker, read_fworker
from rekindle.dialects.original_commands import OriginalGroup
from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.engine import pilots
from rekindle.engine.slurm_options import read_options
from rekindle.files.store_files import working_directory
from rekindle.store.database import NO_LIMIT

if TYPE_CHECKING:
    from rekindle.engine.session import Session

QUEUE_FILE = "my_qadapter.yaml"

SLEEP = 60.0
"""Seconds between two looks at the queue."""

_SBATCH = {
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            *("account", "constraint", "gres", "gpus", "mem", "qos", "time_min", "mail_type", "mail_user"),
            *("mem_per_cpu", "core_spec", "ntasks_per_core", "dependency", "reservation", "cpus_per_task"),
        )
    },
    "walltime": "--time",
    "queue": "--partition",
    "exclude_nodes": "--exclude",
    "license": "--licenses",
}
"""The option of sbatch for each word of a queue adapter."""

_ONE = ("nodes", "ntasks", "ntasks_per_node", "vnodes")
"""Words for jobs on several nodes or with several tasks: a launch runs on one node."""

_IGNORED = ("_fw_name", "_fw_q_type", "rocket_launch", "pre_rocket", "job_name", "logdir", "signal")

_FOLDER, _FILE = click.Path(), click.Path()


class QueueOptions(msgspec.Struct, frozen=True):
    """The options before the subcommand."""

    adapter: Mapping[str, Any]
    fworker: FWorker
    launch_dir: Path
    fill: bool


class Queued(msgspec.Struct, frozen=True):
    """What waits to be launched, and what is in the queue."""

    ready: int
    pending: int
    active: int  # pending or running


@click.group(cls=OriginalGroup, context_settings={"help_option_names": ["-h", "--help"]})
@version_option("qlaunch")
@click.option("-rh", "--remote_host", multiple=True, help="Accepted and ignored: log in there.")
@click.option("-rc", "--remote_config_dir", multiple=True, help="Accepted and ignored.")
@click.option("-ru", "--remote_user", help="Accepted and ignored.")
@click.option("-rp", "--remote_password", help="Accepted and ignored.")
@click.option("-rsh", "--remote_shell", help="Accepted and ignored.")
@click.option("-rkf", "--remote_keyfile", help="Accepted and ignored.")
@click.option("-rs", "--remote_setup", is_flag=True, help="Accepted and ignored.")
@click.option("-d", "--daemon", type=int, default=0, help="Accepted and ignored: --nlaunches infinite goes on.")
@click.option("--launch_dir", type=_FOLDER, default=".", help="The folder for launches.")
@click.option("--block_dir", type=_FOLDER, help="Accepted and ignored: there are no blocks.")
@click.option("--logdir", type=_FOLDER, help="Accepted and ignored.")
@click.option("--loglvl", default="INFO", help="Accepted and ignored.")
@click.option("-s", "--silencer", is_flag=True, help="Accepted and ignored.")
@click.option("-r", "--reserve", is_flag=True, help="Accepted and ignored: a Slurm job launches the first ready one.")
@click.option("-l", "--launchpad_file", type=_FILE, help="Accepted and ignored.")
@click.option("-w", "--fworker_file", type=_FILE, help="Describes the machine.")
@click.option("-q", "--queueadapter_file", type=_FILE, help="Describes the queue.")
@click.option("-c", "--config_dir", type=_FOLDER, default=".", help="The folder of these files.")
@click.option("-fm", "--fill_mode", is_flag=True, help="Submit even if nothing is ready.")
@click.pass_context
def qlaunch(
    ctx: click.Context,
    /,
    launch_dir: str,
    fworker_file: str | None,
    queueadapter_file: str | None,
    config_dir: str,
    fill_mode: bool,
    **_: Any,
) -> None:
    """Speak FireWorks: launch in a queue, that of Slurm.

    The file my_qadapter.yaml, or that of -q, has the words of FireWorks' CommonAdapter for SLURM. The store must be in
    PostgreSQL, because the Slurm jobs open it.

    \b
    Example:
      rekindle qlaunch singleshot
      rekindle qlaunch -q my_qadapter.yaml rapidfire -m 10
    """
    # Read by the subcommand, which may be asked for its help only.
    ctx.obj = lambda: _queue_options(launch_dir, fworker_file, queueadapter_file, config_dir, fill=fill_mode)


@qlaunch.command("singleshot")
@click.option("-f", "--fw_id", type=int, help="Launch this firework.")
@click.pass_obj
def queue_singleshot(read: Callable[[], QueueOptions], fw_id: int | None) -> None:
    """Submit one Slurm job.

    \b
    Example:
      rekindle qlaunch singleshot
    """
    queue = read()
    with open_reconciled() as session:
        if not queue.fill and fw_id is None and not _queued(session, queue).ready:
            click.echo("No jobs exist in the LaunchPad for submission to queue!")
            return
        _submit(session, queue, 1, fw_id)


@qlaunch.command("rapidfire")
@click.option("-m", "--maxjobs_queue", type=click.IntRange(min=0), default=0, help="At most this many in the queue.")
@click.option("-b", "--maxjobs_block", type=int, default=500, help="Accepted and ignored: there are no blocks.")
@click.option("--nlaunches", default="0", help='How many, or "infinite".')
@click.option("--timeout", type=click.IntRange(min=0), help="Stop submitting after this many seconds.")
@click.option("--sleep", type=click.IntRange(min=0), help="Seconds between looks. [default: 60]")
@click.pass_obj
def queue_rapidfire(
    read: Callable[[], QueueOptions],
    /,
    maxjobs_queue: int,
    nlaunches: str,
    timeout: int | None,
    sleep: int | None,
    **_: Any,
) -> None:
    """Submit a Slurm job for each ready firework, and no more than -m at a time.

    \b
    Example:
      rekindle qlaunch rapidfire -m 10
    """
    if nlaunches != "infinite" and not nlaunches.isdecimal():
        raise BadValue(f"--nlaunches {nlaunches}: not a number", hint='a number, or "infinite"')
    queue, endless = read(), nlaunches == "infinite"
    left = None if endless or nlaunches == "0" else int(nlaunches)
    began = time.monotonic()
    with open_reconciled() as session:
        while True:
            found = _queued(session, queue)
            wanted = max(0, found.ready - found.pending)
            if queue.fill:
                wanted = max(wanted, maxjobs_queue - found.active, 0)
            wanted = wanted if left is None else min(wanted, left)
            number = min(wanted, max(0, maxjobs_queue - found.active)) if maxjobs_queue else wanted
            if number:
                _submit(session, queue, number)
            if left is not None:
                left -= number
            waits = endless or number < wanted
            if left == 0 or not waits or (timeout is not None and time.monotonic() - began >= timeout):
                return
            time.sleep(SLEEP if sleep is None else sleep)


def _queue_options(
    launch_dir: str, fworker_file: str | None, queueadapter_file: str | None, config_dir: str, *, fill: bool
) -> QueueOptions:
    adapter = _read_adapter(Path(queueadapter_file or Path(config_dir, QUEUE_FILE)))
    described = Path(fworker_file or Path(config_dir, FWORKER_FILE))
    if fworker_file and not described.is_file():
        raise NotFound(f"-w {fworker_file}: there is no such file")
    fworker = read_fworker(described) if described.is_file() else FWorker()
    if not Path(launch_dir).is_dir():
        raise NotFound(f"--launch_dir {launch_dir}: there is no such folder")
    return QueueOptions(adapter, fworker, Path(working_directory(), launch_dir), fill)


def _queued(session: Session, queue: QueueOptions) -> Queued:
    """Return the ready fireworks that the fworker launches, and the Slurm jobs of the store."""
    with session.store.read() as archive:
        ready = len(archive.queue.ready(None, NO_LIMIT, only=queue.fworker.predicate))
    phases = [one.phase.value for row in pilots.list_pilots(session, pilots.slurm_placement()) for one in row.seen]
    return Queued(ready, phases.count("pending"), phases.count("pending") + phases.count("running"))


def _submit(session: Session, queue: QueueOptions, number: int, firework: int | None = None) -> None:
    """Submit Slurm jobs, and print their id."""
    if not session.store.is_on_server:
        raise Refused(
            f"the rows of {session.store.name} are in a file, which launches on other hosts cannot share",
            hint="`rekindle store copy` copies the store to PostgreSQL",
        )
    command = _rocket_launch(queue)
    if firework is not None:
        if "singleshot" not in command:
            raise BadValue("-f needs `rlaunch singleshot` as the rocket_launch of the queue adapter")
        command += ("-f", str(firework))
    size = read_options(_sbatch_words(queue.adapter))
    options = pilots.PilotOptions(
        count=number,
        cpus=size.cpus or 1,
        memory=size.memory,
        gpus=size.gpus,
        seconds=size.seconds,
        options=size.others,
        command=command,
        before=f"cd {shlex.quote(str(queue.launch_dir))}\n{queue.adapter.get('pre_rocket') or ''}".rstrip("\n"),
    )
    planned = pilots.plan_pilots(session, options)
    handle = pilots.submit_pilots(session, planned, pilots.slurm_placement())
    jobs = "1 job" if number == 1 else f"{number} jobs"
    click.echo(f"Launched {jobs} in the queue, with the id {handle.partition(':')[0]}")


def _rocket_launch(queue: QueueOptions) -> tuple[str, ...]:
    """Return the words of rekindle that a Slurm job runs."""
    words = shlex.split(str(queue.adapter.get("rocket_launch") or "rlaunch singleshot"))
    if not words or Path(words[0]).name != "rlaunch":
        raise BadValue(f"the rocket_launch {' '.join(words)!r} is not `rlaunch …`", hint="rlaunch rapidfire")
    return ("rlaunch", *words[1:])


def _sbatch_words(adapter: Mapping[str, Any]) -> list[str]:
    return [f"{option}={adapter[word]}" for word, option in _SBATCH.items() if adapter.get(word) is not None]


def _read_adapter(path: Path) -> Mapping[str, Any]:
    """Read a queue adapter file. Raise BadValue for one that is not for Slurm, or has unknown words."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise NotFound(
            f"the queue adapter {path} cannot be read: {error.strerror}", hint=f"-q FILE, or {QUEUE_FILE} here"
        ) from error
    except yaml.YAMLError as error:
        raise BadValue(f"{path} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise BadValue(f"{path} is not a queue adapter", hint="_fw_name: CommonAdapter, _fw_q_type: SLURM, …")
    kind = found.get("_fw_q_type")
    if found.get("_fw_name") != "CommonAdapter" or kind != "SLURM":
        raise BadValue(f"{path} is for {kind or found.get('_fw_name')}, not for Slurm", hint="_fw_q_type: SLURM")
    several = [word for word in _ONE if str(found.get(word) or 1) != "1"]
    unknown = sorted({str(word) for word in found} - {*_SBATCH, *_ONE, *_IGNORED})
    if several or unknown:
        words = ", ".join([*(f"{word}: {found[word]}" for word in several), *unknown])
        raise BadValue(f"{path}: {words} cannot be used here", hint="a launch runs on one node, with cpus_per_task")
    return found
