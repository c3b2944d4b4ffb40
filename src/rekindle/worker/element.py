"""`python -m rekindle.worker.element FOLDER INDEX`: the worker of one element of a batch.

Another engine starts it, on any host that sees the spool. The folder of the batch says which worker it is. Its orders
are in a file, and its journal decides whether it may work: if the journal exists, another start of the same element
works or has worked, or its runner has given it up."""

from __future__ import annotations

import os
import sys

from rekindle.journal.batches import orders_path, read_manifest
from rekindle.journal.paths import journal_path, scratch_path
from rekindle.worker.__main__ import work


def main(arguments: list[str]) -> None:
    """Work on the attempts of the element."""
    folder, index = arguments
    manifest = read_manifest(folder)
    name = manifest.workers[int(index)]
    scratch = scratch_path(manifest.store, name)
    try:
        orders = os.open(orders_path(scratch), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # its attempts are resolved
    os.dup2(orders, 0)
    os.close(orders)
    work(name, journal_path(manifest.store, name), scratch, os.open(os.devnull, os.O_WRONLY), element=True)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(0)
