"""A worker's process: `python -P -m rekindle.worker NAME JOURNAL SCRATCH WAKE`.

Orders arrive on stdin (journal.orders). WAKE is a descriptor: a byte written to it wakes the runner. SIGTERM means
Stop; SIGUSR1 means Stop and cancel the running attempts, for a sender without a pipe. The worker creates JOURNAL and
exits if it exists: see journal.log."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from rekindle.files.store_files import is_fully_durable
from rekindle.journal.log import create_journal
from rekindle.journal.paths import clear_scratch
from rekindle.journal.processes import CANCEL_SIGNAL, OomKillCounter, boot_id, host_name, pid_namespace, start_of
from rekindle.journal.records import Opened
from rekindle.worker.attempt_environment import base_environment
from rekindle.worker.attempt_folders import AttemptFolders
from rekindle.worker.call_steps import CallHosts
from rekindle.worker.command_steps import become_subreaper
from rekindle.worker.fingerprints import Fingerprinter
from rekindle.worker.heartbeat import Heartbeat
from rekindle.worker.logs import StepLogs
from rekindle.worker.loop import WorkerLoop
from rekindle.worker.reporter import Reporter
from rekindle.worker.subtasks import WorkerResources


def main(arguments: list[str]) -> None:
    """Work as a runner's worker."""
    name, journal, scratch, wake = arguments
    os.set_inheritable(int(wake), False)
    os.set_blocking(0, False)
    work(name, journal, scratch, int(wake))


def work(name: str, journal: str, scratch: str, wake: int, *, element: bool = False) -> None:
    """Set up the process and work on the orders that come on stdin. `wake`: a descriptor that wakes the runner.
    `element`: see `WorkerLoop`."""
    signal_fd = _signal_descriptor()
    become_subreaper()
    pid = os.getpid()
    opened = Opened(name, host_name(), boot_id(), pid, start_of(pid) or 0, time.time(), pid_space=pid_namespace())
    own = create_journal(journal, opened, durable=is_fully_durable(os.environ))
    if own is None:
        if not element:  # another start of the element may use the folder
            clear_scratch(scratch)
        return
    Heartbeat(own, shared=element).start()
    reporter = Reporter(own, wake)
    resources = WorkerResources(
        reporter=reporter,
        capture=StepLogs(f"{scratch}/", reporter.storage),
        folders=AttemptFolders(f"{scratch}/spare", reporter.storage),
        hosts=CallHosts(journal, scratch, reporter.storage, wake),
        fingerprints=Fingerprinter(),
        kills=OomKillCounter(),
        base_variables=base_environment(),
        scratch=scratch,
    )
    WorkerLoop(resources, signal_fd, element=element).run()
    if reporter.withheld:  # the log of the attempt is still there
        return
    with contextlib.suppress(OSError):  # the executor clears the folder, or the store is gone
        clear_scratch(scratch)


def _signal_descriptor() -> int:
    """Return a descriptor from which the numbers of received SIGTERM and SIGUSR1 can be read. SIGINT and SIGHUP are
    ignored: they are for the processes of a terminal."""
    signal_fd, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, CANCEL_SIGNAL):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return signal_fd


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(0)  # everything is journaled; freeing every object takes a fifth of the time of a short run
