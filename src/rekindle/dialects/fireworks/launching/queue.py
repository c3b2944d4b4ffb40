"""`rekindle qlaunch`: what comes with Slurm."""

from __future__ import annotations

from typing import Any

import click

from rekindle.dialects.fireworks.launching.options import version_option
from rekindle.domain.errors import Refused

_FOLDER, _FILE = click.Path(), click.Path()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option("qlaunch")
@click.option("-rh", "--remote_host", multiple=True, help="Hosts to submit from.")
@click.option("-rc", "--remote_config_dir", multiple=True, help="Folders with the configuration there.")
@click.option("-ru", "--remote_user", help="Who logs in there.")
@click.option("-rp", "--remote_password", help="With which password.")
@click.option("-rsh", "--remote_shell", help="The shell there.")
@click.option("-rkf", "--remote_keyfile", help="The key for it.")
@click.option("-rs", "--remote_setup", is_flag=True, help="Copy the configuration there.")
@click.option("-d", "--daemon", type=int, default=0, help="Again every so many seconds.")
@click.option("--launch_dir", type=_FOLDER, default=".", help="Where launches take place.")
@click.option("--block_dir", type=_FOLDER, help="The block's folder.")
@click.option("--logdir", type=_FOLDER, help="Where logs go.")
@click.option("--loglvl", default="INFO", help="What is told.")
@click.option("-s", "--silencer", is_flag=True, help="Tell nothing.")
@click.option("-r", "--reserve", is_flag=True, help="Reserve a firework for each submission.")
@click.option("-l", "--launchpad_file", type=_FILE, help="Taken and without effect.")
@click.option("-w", "--fworker_file", type=_FILE, help="Describes the machine.")
@click.option("-q", "--queueadapter_file", type=_FILE, help="Describes the queue.")
@click.option("-c", "--config_dir", type=_FOLDER, default=".", help="Where these files are.")
@click.option("-fm", "--fill_mode", is_flag=True, help="Submit although nothing is ready.")
def qlaunch(**_: Any) -> None:
    """Speak FireWorks: launch in a queue. Not yet.

    \b
    Example:
      rekindle qlaunch -r rapidfire
    """


@qlaunch.command()
@click.option("-f", "--fw_id", type=int, help="This firework.")
def singleshot(**_: Any) -> None:
    """Submit one launch: not yet.

    \b
    Example:
      rekindle qlaunch singleshot
    """
    _refuse("rlaunch singleshot")


@qlaunch.command()
@click.option("-m", "--maxjobs_queue", type=int, default=0, help="So many in the queue at the most.")
@click.option("-b", "--maxjobs_block", type=int, default=500, help="So many in a block.")
@click.option("--nlaunches", default="0", help='So many, or "infinite".')
@click.option("--timeout", type=int, help="Submit nothing after so many seconds.")
@click.option("--sleep", type=int, help="Seconds between two looks.")
def rapidfire(**_: Any) -> None:
    """Submit many launches: not yet.

    \b
    Example:
      rekindle qlaunch rapidfire --nlaunches infinite
    """
    _refuse("rlaunch rapidfire")


def _refuse(instead: str) -> None:
    raise Refused("nothing is submitted: no queue is spoken yet", hint=f"`{instead}` launches here")
