"""What a worker says on the pipe that wakes its runner when its disk fails: a full disk takes no note of that."""

from __future__ import annotations

import os
import re

_TROUBLE = re.compile(rb"\?(\d+) ([^\n]*)\n")


def trouble_told(journal: str, number: int) -> bytes:
    """The message: this journal cannot be written, with that error. Among it and others' bytes `!` it is found."""
    return b"?%d %b\n" % (number, os.fsencode(journal)[-1024:])


def trouble_heard(content: bytes) -> tuple[str, int] | None:
    """The first such message among what was read: (journal, number)."""
    found = _TROUBLE.search(content)
    return (os.fsdecode(found[2]), int(found[1])) if found else None
