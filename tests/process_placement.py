"""A placement of processes on this host, which end without the process that submitted them: a small engine for tests.

Its state is files in one folder, so that another process can poll, cancel and adopt."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rekindle.domain.states import Cause
from rekindle.executors.placement import (
    ENTRY_POINTS,
    Batch,
    Phase,
    PlacementBusy,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)
from rekindle.journal.processes import start_of


def processes_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which a command runs its attempts with this placement. `folder`: for its files."""
    package = folder / "package"
    info = package / "processes-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: processes\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nprocesses = process_placement:ProcessPlacement\n")
    paths = [str(Path(__file__).parent), str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "REKINDLE_EXECUTOR": "processes",
        "REKINDLE_ADDRESS": str(folder / "engine"),
    }


class ProcessPlacement:
    """Starts each element as a process at once, or holds it while a file `hold` exists in the folder."""

    name = "processes"

    def __init__(self, address: str | None) -> None:
        assert address is not None
        self.folder = Path(address)
        self.folder.mkdir(exist_ok=True)

    def max_elements(self) -> int | None:
        """Return None."""
        return None

    def _answer(self) -> None:
        """Do not answer while a file `away` exists."""
        if (self.folder / "away").exists():
            raise PlacementUnreachable("processes: away")

    def submit(self, batch: Batch) -> str:
        """Start the elements."""
        self._answer()
        if "--refuse" in batch.options:
            raise PlacementRefused("processes: there is no such option as --refuse")
        limit = self.folder / "limit"
        if limit.exists() and batch.elements > int(limit.read_text()):
            raise PlacementBusy(f"processes: more than {limit.read_text()} elements at once")
        place, draft = self.folder / batch.token, self.folder / f"{batch.token}.new"
        draft.mkdir(exist_ok=True)
        (draft / "submitted").write_text(f"{batch.elements} {os.getpid()} {start_of(os.getpid())}")
        draft.rename(place)  # raises OSError if the batch has been submitted
        for index in range(batch.elements):
            command = shlex.join(batch.command(index))
            own = shlex.quote(str(place / str(index)))
            script = (
                f"own={own}; while [ -e {shlex.quote(str(self.folder / 'hold'))} ] && ! [ -e $own.canceled ]; "
                "do sleep 0.05; done; [ -e $own.canceled ] && exit; "
                f"touch $own.began; {command}; echo $? > $own.new; mv $own.new $own.exit"
            )
            with Path(batch.folder, f"{index}.err").open("wb") as errors:
                process = subprocess.Popen(
                    ["sh", "-c", script], start_new_session=True, stdin=subprocess.DEVNULL, stderr=errors
                )
            (place / f"{index}.pid").write_text(str(process.pid))
        return str(place)

    def poll(self, handles: Collection[str]) -> Sequence[Seen]:
        """Look at the files and processes."""
        self._answer()
        return [seen for handle in handles for seen in self._look_at_batch(handle)]

    def _look_at_batch(self, handle: str) -> Iterator[Seen]:
        """Yield the elements of a batch. Those that a submitter which was killed has not started are lost."""
        elements, pid, start = (Path(handle) / "submitted").read_text().split()
        submits = str(start_of(int(pid))) == start
        for index in range(int(elements)):
            path = Path(handle) / f"{index}.pid"
            if path.exists():
                yield self._look(handle, index, int(path.read_text()))
            elif not submits:
                seen: dict[str, Any] = {"handle": handle, "element": index, "evidence": {"state": "FAILED"}}
                yield Seen(**seen, phase=Phase.ENDED, cause=Cause.LOST, message="never started")

    def _look(self, handle: str, index: int, pid: int) -> Seen:
        place = Path(handle)
        seen: dict[str, Any] = {"handle": handle, "element": index}
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if (place / f"{index}.canceled").exists():
            evidence: dict[str, Any] = {"state": "CANCELLED"}
            return Seen(**seen, phase=Phase.ENDED, cause=Cause.CANCELED, message="canceled by hand", evidence=evidence)
        if (place / f"{index}.exit").exists():
            code = int((place / f"{index}.exit").read_text())
            cause = None if code == 0 else Cause.LOST
            return Seen(**seen, phase=Phase.ENDED, cause=cause, message=f"exit {code}", evidence={"exit_code": code})
        if not Path(f"/proc/{pid}").exists():
            return Seen(**seen, phase=Phase.ENDED, cause=Cause.LOST, message="killed", evidence={"state": "FAILED"})
        if not (place / f"{index}.began").exists():
            return Seen(**seen, phase=Phase.PENDING, waits_for="Held")
        return Seen(**seen, phase=Phase.RUNNING)

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        """Kill the processes of elements."""
        self._answer()
        for handle, indices in elements.items():
            for index in indices:
                (Path(handle) / f"{index}.canceled").touch()
                with suppress(ProcessLookupError):
                    os.killpg(int((Path(handle) / f"{index}.pid").read_text()), signal.SIGTERM)

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        """Return the folders of batches."""
        self._answer()
        return {token: str(self.folder / token) for token in tokens if (self.folder / token).exists()}

    def close(self) -> None:
        """Do nothing."""
