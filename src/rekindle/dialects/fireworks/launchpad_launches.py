"""The LaunchPad methods for single launches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.fw_documents import firework_documents
from rekindle.dialects.fireworks.fw_states import launch_state
from rekindle.dialects.fireworks.launchpad_base import (
    LOG,
    LaunchPadNotFound,
    LaunchPadRefused,
    existing_fireworks,
    fireworks_class,
)
from rekindle.dialects.fireworks.launchpad_changes import LaunchPadChanges
from rekindle.dialects.fireworks.offline import (
    FORGOTTEN,
    offline_launches,
    queue_ids,
    recover,
    reserve_firework,
    set_up,
)
from rekindle.dialects.fireworks.rocket_launcher import as_fworker
from rekindle.dialects.fireworks.script_launches import completed_tasks, launch_end
from rekindle.domain.errors import BadValue, NotFound
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.running import detached

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt
    from rekindle.engine.session import Session

_TWO_WEEKS = 14 * 24 * 3600
_MAINTENANCE_SECONDS = 120.0


class LaunchPadLaunches(LaunchPadChanges):
    """The methods that look at launches, and that reserve, begin and end them for a script."""

    def get_fw_dict_by_id(self, fw_id: int) -> dict[str, Any]:
        """Return a firework with its spec and all its launches. Raises LaunchPadNotFound, a ValueError, for an
        unknown id."""
        with self.opened() as session:
            existing_fireworks(session, [fw_id])
            (found,) = firework_documents(session, [fw_id], times=True)
        return {**found, "launches": found.get("launches", []), "archived_launches": found.get("archived_launches", [])}

    def reserve_fw(
        self, fworker: Any, launch_dir: str, host: str | None = None, ip: str | None = None, fw_id: int | None = None
    ) -> tuple[Any, int | None]:
        """Reserve the next ready firework, or `fw_id`, to be launched in `launch_dir`. Returns it as a FireWorks object
        with the id of its launch, or (None, None). Needs the package fireworks."""
        return self.checkout_fw(fworker, launch_dir, fw_id, host, ip, "RESERVED")

    def checkout_fw(
        self,
        fworker: Any,
        launch_dir: str,
        fw_id: int | None = None,
        host: str | None = None,  # noqa: ARG002 (FireWorks' signature)
        ip: str | None = None,  # noqa: ARG002 (FireWorks' signature)
        state: str = "RUNNING",
    ) -> tuple[Any, int | None]:
        """Begin a launch that this script runs itself, and ends with `complete_launch`. Returns as `reserve_fw`, whose
        reservation of `fw_id` becomes that launch. With the state RESERVED the launch does not begin."""
        made = fireworks_class("Firework")
        if state not in ("RESERVED", "RUNNING"):
            raise BadValue(f"a launch cannot begin in the state {state!r:.60}", hint="RESERVED or RUNNING")
        by, directory = as_fworker(fworker), Path(launch_dir).absolute()
        with self.reconciled() as session:
            reserved = None if fw_id is None else next(iter(offline_launches(session, [fw_id])), None)
            if reserved is None:
                order = reserve_firework(session, by.filter, by.name, directory, fw_id)
                if order is None:
                    return None, None
                launch = order.assignment.attempt
                self._orders[launch] = order
                reserved = job_queries.attempt(session, launch)
            if state == "RUNNING" and reserved.state is State.QUEUED:
                detached.record(session, reserved, [detached.started(reserved)])
        return made.from_dict(self.get_fw_dict_by_id(reserved.job)), reserved.id

    def complete_launch(self, launch_id: int, action: Any = None, state: str = "COMPLETED") -> dict[str, Any]:
        """End a launch that this or another script has begun, with its FWAction: COMPLETED or FIZZLED. Returns the
        launch."""
        with self.reconciled() as session:
            attempt = self._own_launch(session, launch_id)
            detached.record(session, attempt, launch_end(session, attempt, action, state))
            return launch_of(session, existing_launch(session, launch_id))

    def mark_fizzled(self, launch_id: int) -> None:
        """End a launch that a script has begun as FIZZLED."""
        self.complete_launch(launch_id, state="FIZZLED")

    def ping_launch(self, launch_id: int, ptime: Any = None, checkpoint: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 (FireWorks' signature)
        """Record which tasks a launch of a script has completed. Without a checkpoint there is nothing to record."""
        with self.opened() as session:
            attempt = existing_launch(session, launch_id)
            if checkpoint and detached.detached_attempts(session, [launch_id]):
                detached.record(session, attempt, completed_tasks(session, attempt, checkpoint))

    def cancel_reservation(self, launch_id: int) -> None:
        """Give a reserved firework back: it is READY again."""
        with self.reconciled() as session:
            attempt = existing_launch(session, launch_id)
            if attempt.state is State.QUEUED:
                detached.release(session, [launch_id], "its reservation was canceled", running=False)

    def set_reservation_id(self, launch_id: int, reservation_id: Any) -> None:
        """Record the id that a queue has given to the job of a reserved launch."""
        with self.opened() as session:
            detached.note_reservation(session, existing_launch(session, launch_id), str(reservation_id))

    def get_reservation_id_from_fw_id(self, fw_id: int) -> str | None:
        """Return the id that a queue has given to the job of a firework's live launch, or None."""
        with self.opened() as session:
            return queue_ids(session).get(fw_id)

    def get_fw_ids_from_reservation_id(self, reservation_id: Any) -> list[int]:
        """Return the fireworks whose launches have this id of a queue."""
        with self.opened() as session:
            every = detached.reservations(session).values()
            return sorted({job for job, name in every if name == str(reservation_id)})

    def cancel_reservation_by_reservation_id(self, reservation_id: Any) -> None:
        """Give the reserved fireworks with this id of a queue back."""
        with self.opened() as session:
            known = queue_ids(session)
            found = [one.id for one in offline_launches(session) if known.get(one.job) == str(reservation_id)]
        if not found:
            LOG.info("Can't find any reserved jobs with reservation id: %s", reservation_id)
        for launch in found:
            self.cancel_reservation(launch)

    def add_offline_run(self, launch_id: int, fw_id: int, name: str) -> None:  # noqa: ARG002 (FireWorks' signature)
        """Write the files of an offline launch into the working directory (see `rocket.setup_offline_job`)."""
        order = self._orders.get(launch_id)
        with self.opened() as session:
            existing_launch(session, launch_id)
            if order is None:
                raise LaunchPadRefused(
                    f"launch {launch_id} was not reserved by this LaunchPad object",
                    hint="reserve_fw and setup_offline_job belong together, or `lpad reserve` does both",
                )
            set_up(session, order, Path.cwd())

    def recover_offline(
        self,
        launch_id: int,
        ignore_errors: bool = False,
        print_errors: bool = False,
    ) -> int | None:
        """Record what an offline launch has done so far. Returns None, or the firework if its files cannot be read. If
        they are gone it is FIZZLED, unless `ignore_errors`."""
        with self.reconciled() as session:
            attempt = existing_launch(session, launch_id)
            failed = recover(session, [attempt], ignore_errors=ignore_errors).failed
        for _, _, why in failed if print_errors else ():
            LOG.error("failed recovering launch_id=%s: %s", launch_id, why)
        return attempt.job if failed else None

    def forget_offline(self, launchid_or_fwid: int, launch_mode: bool = True) -> None:
        """Give up an offline launch. One that has not started never starts, and its firework is READY again; one that
        runs is FIZZLED, and its later result is ignored."""
        with self.reconciled() as session:
            every = offline_launches(session, None if launch_mode else [launchid_or_fwid])
            found = [one.id for one in every if not launch_mode or one.id == launchid_or_fwid]
            if found:
                detached.release(session, found, FORGOTTEN)

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
            self.detect_lostruns(fizzle=True)
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

    def _own_launch(self, session: Session, launch_id: int) -> Attempt:
        """Return a launch that no runner has. Raises LaunchPadNotFound or LaunchPadRefused."""
        attempt = existing_launch(session, launch_id)
        if not detached.detached_attempts(session, [attempt.id]):
            raise LaunchPadRefused(
                f"launch_id: {launch_id} is {launch_state(attempt.state)}, and no script has it",
                hint="checkout_fw begins a launch of a script; rerun_fw and defuse_fw end one that runs",
            )
        return attempt


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
