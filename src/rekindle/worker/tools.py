"""What a worker works with, from one attempt to the next."""

from __future__ import annotations

from dataclasses import dataclass

from rekindle.journal.oomkills import OomKills
from rekindle.worker.calls import Hosts
from rekindle.worker.capture import Capture
from rekindle.worker.fingerprints import Fingerprints
from rekindle.worker.folders import Folders
from rekindle.worker.telling import Teller


@dataclass(frozen=True, slots=True)
class Tools:
    """One set for a worker's life."""

    teller: Teller
    capture: Capture
    folders: Folders
    hosts: Hosts
    fingerprints: Fingerprints
    kills: OomKills
    surroundings: dict[str, str]  # this process's environment
    scratch: str  # the worker's own folder
