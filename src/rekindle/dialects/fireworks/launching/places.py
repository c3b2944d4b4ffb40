"""Where fireworks are launched: each in a new folder, all in the folder of rlaunch, or where their specs say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rekindle.domain.models import ReadyJob, Workplace

LAUNCHER = "launcher_"
"""How the names of new folders begin."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A firework that is launched: its id, the attempt's, and where."""

    firework: int
    attempt: int
    folder: str
    new: bool  # the folder is its own


@dataclass(slots=True)
class LaunchPlaces:
    """Says where each launch takes place, and keeps what it has said. `here`: in `directory` itself, where that takes
    no copy of another folder among its files."""

    directory: str  # absolute
    here: bool = False
    tell: Callable[[Launch], None] | None = None
    launches: list[Launch] = field(default_factory=list)

    def __call__(self, job: ReadyJob, attempt: int, now: float) -> Workplace:
        """The place of an attempt that is claimed now."""
        given = json.loads(job.binding).get("spec", {}).get("_launch_dir")
        path = self._path(given) if given else self.directory if self.here else None
        shared = path is not None and (job.take != "copy" or job.take_folder == path)
        if path is None or not shared:
            path = f"{self.directory}/{LAUNCHER}{_stamp(now, attempt)}"
        taken = job.take_folder if job.take == "same" else None
        launch = Launch(job.id, attempt, taken or path, new=taken is None and not shared)
        self.launches.append(launch)
        if self.tell is not None:
            self.tell(launch)
        return Workplace(path, shared)

    def _path(self, given: object) -> str:
        written = os.path.expandvars(os.path.expanduser(str(given)))  # noqa: PTH111 - that of nobody stays as it is
        return str(Path(self.directory, written))


def _stamp(now: float, attempt: int) -> str:
    """A date to the microsecond, as FireWorks has it; its last digits are the attempt's, so that no two are alike."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d-%H-%M-%S")
    return f"{date}-{int(now * 1000) % 1000:03d}{attempt % 1000:03d}"
