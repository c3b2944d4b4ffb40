"""What a worker does when the disk that the store is on fails it: it keeps what it has to tell, starts nothing, and
tries again until the disk takes it. A moment's full disk costs nobody the outcome of a job that ran."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

AGAIN = 1.0
"""Seconds between two tries."""

PATIENCE = 3600.0
"""Seconds after which it gives up: what it has not told by then is lost."""

FAILING = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM))
"""What a disk says that may be mended. Other errors are not the disk's."""


class Storage:
    """The disk, as one process sees it. `trouble` is the number of the error that it fails with; 0: it works."""

    def __init__(self, tell: Callable[[int], None], gone: Callable[[], bool]) -> None:
        """`tell` is called with the number at each try that fails, and with 0 once one succeeds. `gone`: the store has
        been removed, and nothing is worth waiting for."""
        self._tell, self._gone = tell, gone
        self._since = 0.0
        self.trouble = 0

    def failed(self, error: OSError, now: float) -> None:
        """Note that it has failed; raises the error when it is not the disk's, or nobody waits for it any longer."""
        number = error.errno or 0
        if not self.trouble:
            self._since = now
        if number not in FAILING or now - self._since > PATIENCE or self._gone():
            raise error
        self.trouble = number
        self._tell(number)

    @property
    def gone(self) -> bool:
        """The store has been removed."""
        return self._gone()

    def works(self) -> None:
        """It does what it is asked."""
        if self.trouble:
            self.trouble = 0
            self._tell(0)

    def insist(self, act: Callable[[], T]) -> T:
        """Do something, again and again until the disk lets it. Nothing else is done meanwhile."""
        while True:
            try:
                done = act()
            except OSError as error:
                self.failed(error, time.monotonic())
                time.sleep(AGAIN)
            else:
                self.works()
                return done
