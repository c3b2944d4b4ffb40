"""The LaunchPad methods for single launches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.fw_documents import firework_documents
from rekindle.dialects.fireworks.launchpad_base import (
    LOG,
    LaunchPadNotFound,
    LaunchPadRefused,
    fireworks_class,
)
from rekindle.dialects.fireworks.launchpad_changes import LaunchPadChanges
from rekindle.domain.errors import NotFound
from rekindle.engine.queries import job_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session

_TWO_WEEKS = 14 * 24 * 3600
_FOUR_HOURS = 4 * 3600
_MAINTENANCE_SECONDS = 120.0


class LaunchPadLaunches(LaunchPadChanges):
    """The methods that look at launches, and that reserve, begin and end them for a script."""

    def get_recovery(self, launch_id: int) -> dict[str, Any] | None:
        """Return where a launch can be resumed, with its folder; None if it has no checkpoint."""
        with self.opened() as session:
            attempt = existing_launch(session, launch_id, "launch_id: {} does not exist")
            history = launch_of(session, attempt)["state_history"]
        checkpoint = history[-1].get("checkpoint") if history else None
        return {**checkpoint, "_prev_dir": attempt.folder, "_launch_id": launch_id} if checkpoint else None

    def get_tracker_data(self, fw_id: int) -> list[dict[str, Any]]:
        """Return the trackers of each launch of a firework, as FireWorks objects with the present ends of their files.
        Needs the package fireworks."""
        made = fireworks_class("Tracker")
        with self.opened() as session:
            (found, *_) = [*firework_documents(session, [fw_id]), {}]
        data = []
        for launch in (*found.get("archived_launches", ()), *found.get("launches", ())):
            trackers = [made.from_dict(one) for one in launch["trackers"]]
            for one in trackers:
                one.track_file(launch["launch_dir"])
            data.append({"launch_id": launch["launch_id"], "trackers": trackers})
        return data

    def detect_unreserved(self, expiration_secs: float = _TWO_WEEKS, rerun: bool = False) -> list[int]:
        """Return the launches that were reserved at least `expiration_secs` seconds ago and have not started. `rerun`
        cancels their reservations."""
        from rekindle.dialects.fireworks.firework_operations import rerun_reserved, reserved_launches

        with self.reconciled() as session:
            found = reserved_launches(session, expiration_secs)
            if rerun and found:
                rerun_reserved(session, found)
        return [one.id for one in found]

    def maintain(self, infinite: bool = True, maintain_interval: float | None = None) -> None:
        """Mark launches that were lost four hours ago FIZZLED, and cancel reservations of two weeks ago. With
        `infinite` repeat that every `maintain_interval` seconds (default: 120)."""
        while True:
            LOG.info("Performing maintenance on Launchpad...")
            self.detect_lostruns(_FOUR_HOURS, fizzle=True)
            self.detect_unreserved(rerun=True)
            LOG.info("LaunchPad was MAINTAINED.")
            if not infinite:
                return
            time.sleep(maintain_interval or _MAINTENANCE_SECONDS)

    def change_launch_dir(self, launch_id: int, launch_dir: str) -> None:  # noqa: ARG002 (FireWorks' signature)
        """Raise LaunchPadRefused: a launch keeps the folder that it began in."""
        with self.opened() as session:
            existing_launch(session, launch_id)
        raise LaunchPadRefused(
            f"the folder of launch {launch_id} cannot be changed",
            hint="reserve_fw and checkout_fw take the folder, and so does `_launch_dir` in a spec",
        )

    def delete_fws(self, fw_ids: Sequence[int], delete_launch_dirs: bool = False) -> None:  # noqa: ARG002 (FireWorks' signature)
        """Raise LaunchPadRefused: a workflow without some of its fireworks would be incomplete."""
        raise LaunchPadRefused(
            f"fireworks {', '.join(str(one) for one in fw_ids)} cannot be deleted alone: their workflow would be "
            "incomplete",
            hint="delete_wf deletes a whole workflow, defuse_fw keeps a firework from running",
        )

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:
        """Do nothing: an end that cannot be recorded leaves launch and firework as they were."""


def existing_launch(session: Session, launch_id: int, message: str = "No Launch exists with launch_id={}") -> Attempt:
    """Return a launch's attempt. Raises LaunchPadNotFound, a ValueError, with this message."""
    try:
        return job_queries.attempt(session, int(launch_id))
    except NotFound:
        raise LaunchPadNotFound(message.format(launch_id)) from None


def launch_of(session: Session, attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as a launch."""
    (found,) = firework_documents(session, [attempt.job], times=True)
    every = [*found.get("launches", ()), *found.get("archived_launches", ())]
    launch: dict[str, Any] = next(one for one in every if one["launch_id"] == attempt.id)
    return launch
