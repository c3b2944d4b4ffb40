"""A worker's process: `python -P -m rekindle.worker NAME JOURNAL SCRATCH WAKE`.

Orders come on stdin (journal.orders); WAKE is a descriptor on which a byte wakes the runner. SIGTERM means Stop;
SIGUSR1 means to stop and to cancel what runs, for whoever has no pipe to it. It creates JOURNAL, and goes if that is
there: see journal.opening.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

from rekindle.journal.durability import is_full
from rekindle.journal.oomkills import OomKills
from rekindle.journal.opening import open_own
from rekindle.journal.places import clear_scratch
from rekindle.journal.processes import CANCEL, boot_id, start_of
from rekindle.journal.records import Opened
from rekindle.worker.calls import Hosts
from rekindle.worker.capture import Capture
from rekindle.worker.fingerprints import Fingerprints
from rekindle.worker.folders import Folders
from rekindle.worker.frame import own_surroundings
from rekindle.worker.loop import Bench
from rekindle.worker.reaping import become_subreaper
from rekindle.worker.telling import Teller
from rekindle.worker.tools import Tools


def main(arguments: list[str]) -> None:
    """Set the process up and work."""
    name, journal, scratch, wake = arguments
    os.set_inheritable(int(wake), False)
    os.set_blocking(0, False)
    alarm = _alarm_for_signals()
    become_subreaper()
    pid = os.getpid()
    opened = Opened(name, socket.gethostname(), boot_id(), pid, start_of(pid) or 0, time.time())
    own = open_own(journal, opened, durable=is_full(os.environ))
    if own is None:
        clear_scratch(scratch)
        return
    teller = Teller(own, int(wake))
    tools = Tools(
        teller=teller,
        capture=Capture(f"{scratch}/", teller.storage),
        folders=Folders(f"{scratch}/spare", teller.storage),
        hosts=Hosts(journal, scratch, teller.storage),
        fingerprints=Fingerprints(),
        kills=OomKills(),
        surroundings=own_surroundings(),
        scratch=scratch,
    )
    Bench(tools, alarm).run()
    with contextlib.suppress(OSError):  # then the executor does it, or nobody needs it any more
        clear_scratch(scratch)


def _alarm_for_signals() -> int:
    """A descriptor from which the numbers of SIGTERM and SIGUSR1 can be read when they have come; SIGINT and SIGHUP are
    for the terminal's own processes."""
    alarm, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, CANCEL):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    return alarm


if __name__ == "__main__":
    main(sys.argv[1:])
