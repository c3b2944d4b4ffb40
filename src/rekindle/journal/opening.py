"""Whose journal it is: who creates the file decides.

A worker creates its journal before it begins anything; its runner never does. Should the runner die, whoever
reconciles what it left finds the journal of each worker that has been registered, or creates it himself: sealed. A
worker that finds its journal there starts nothing and goes. So one that hangs on its way to its first line, for
however long, delays nobody: what it had been given is free as soon as its journal is sealed.

Both create it with O_EXCL, so exactly one of them does. The file may stand there empty: whoever created it has died
before he wrote, or will write. An empty journal of a worker that lives counts as opened by it.
"""

from __future__ import annotations

import os

from rekindle.journal.ledger import Writer, first
from rekindle.journal.records import Opened, Sealed


def open_own(path: str, opened: Opened, *, durable: bool = False) -> Writer | None:
    """A worker's own journal, with its first line; None: it is sealed, and the worker has to go."""
    try:
        journal = Writer(path, exclusive=True, durable=durable)
    except FileExistsError:
        return None
    journal.append(opened)
    return journal


def seal(path: str | os.PathLike[str], sealed: Sealed) -> bool:
    """Keep the worker of a journal that is not there from ever beginning anything; whether the journal is sealed, now
    or by somebody before."""
    try:
        journal = Writer(path, exclusive=True)
    except FileExistsError:
        return is_sealed(path)
    try:
        journal.append(sealed)
    finally:
        journal.close()
    return True


def is_sealed(path: str | os.PathLike[str]) -> bool:
    """Its worker has not begun anything, and never will."""
    return isinstance(first(path), Sealed)
