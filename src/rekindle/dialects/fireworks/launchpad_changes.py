"""The LaunchPad methods that change the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rekindle.dialects.fireworks.firework_operations import NO_LAUNCHES, RerunOptions, rerun_fireworks
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.dialects.fireworks.launchpad_base import (
    LOG,
    NO_FIREWORK,
    NO_FW,
    NO_WORKFLOW,
    LaunchPadBase,
    LaunchPadNotFound,
    LaunchPadRefused,
    existing_fireworks,
    workflow_of_firework,
)
from rekindle.dialects.fireworks.stored_fireworks import StoredFirework
from rekindle.dialects.fireworks.workflow_operations import add_flow
from rekindle.domain.errors import BadValue
from rekindle.engine.queries import job_queries
from rekindle.engine.session import Session

Operation = Callable[[Session, Sequence[StoredFirework]], Mapping[int, str]]

_RECOVER_FOLDERS: Mapping[str, Literal["copy", "same"]] = {"cp": "copy", "prev_dir": "same"}


class LaunchPadChanges(LaunchPadBase):
    """The methods that change fireworks and workflows. As in FireWorks, a refused change is logged, and a missing
    firework raises ValueError."""

    def add_wf(self, wf: Any, reassign_all: bool = True) -> dict[int, int]:  # noqa: ARG002 (FireWorks' signature)
        """Add a Workflow or a Firework, as a FireWorks object or its dict. Returns the new ids by the old ones, and
        sets them on an object. Ids are always new, whatever `reassign_all` says."""
        flow = read_flow(wf if isinstance(wf, Mapping) else wf.to_dict())
        with self.opened() as session:
            ids = add_flow(session, flow, str(Path.cwd()))
        if not isinstance(wf, Mapping):
            _assign_ids(wf, ids)
        LOG.info("Added a workflow. id_map: %s", ids)
        return ids

    def bulk_add_wfs(self, wfs: Iterable[Any]) -> None:
        """Add several workflows. All are read before the first one is added."""
        every = list(wfs)
        for wf in every:
            read_flow(wf if isinstance(wf, Mapping) else wf.to_dict())
        for wf in every:
            self.add_wf(wf)

    def append_wf(
        self, new_wf: Any, fw_ids: Sequence[int], detour: bool = False, pull_spec_mods: bool = True
    ) -> dict[int, int]:
        """Append a Workflow or a Firework to fireworks of one workflow. With `detour` their present children also
        need the new fireworks. Returns the new ids by the old ones."""
        from rekindle.dialects.fireworks.workflow_operations import append_flow

        flow = read_flow(new_wf if isinstance(new_wf, Mapping) else new_wf.to_dict())
        with self.opened() as session:
            existing_fireworks(session, fw_ids, NO_WORKFLOW)
            ids = append_flow(session, list(fw_ids), flow, detour=detour, pull=pull_spec_mods)
        if not isinstance(new_wf, Mapping):
            _assign_ids(new_wf, ids)
        LOG.info("Appended a workflow. id_map: %s", ids)
        return ids

    def rerun_fw(
        self,
        fw_id: int,
        rerun_duplicates: bool = True,
        recover_launch: Literal["last"] | int | None = None,
        recover_mode: Literal["cp", "prev_dir"] | None = None,
    ) -> list[int]:
        """Rerun a firework and its descendants and, with `rerun_duplicates`, the fireworks that share its launch.
        Returns the ids of those that are rerun: [] if its state does not allow a rerun.

        `recover_launch`: resume at the failed task of the last launch, or of the launch with this id.
        `recover_mode`: run in a copy of that launch's folder (cp), or in the folder itself (prev_dir)."""
        if recover_mode is not None and recover_mode not in _RECOVER_FOLDERS:
            raise BadValue(f"there is no recover_mode {recover_mode!r}", hint="cp or prev_dir")
        folder = _RECOVER_FOLDERS[recover_mode] if recover_launch is not None and recover_mode is not None else None
        options = RerunOptions(task_level=recover_launch is not None, folder=folder)
        launches = {fw_id: recover_launch} if isinstance(recover_launch, int) else NO_LAUNCHES
        with self.reconciled() as session:
            (before,) = existing_fireworks(session, [fw_id], NO_FW)
            if recover_launch is not None:
                launch = _launch_to_recover(session, fw_id, recover_launch)
            done = rerun_fireworks(
                session, [fw_id], options, {"jobs": [fw_id]}, launches, with_duplicates=rerun_duplicates
            )
        for number, why in (*done.skipped, *done.refused):
            if recover_launch is not None and number == fw_id:
                raise LaunchPadRefused(
                    f"No recovery info found in launch {launch}: FW with id {number} cannot be recovered: {why}",
                    hint="recover_launch=None reruns it",
                )
            LOG.warning("Cannot rerun fw_id=%s: it is %s. %s", number, before.state, why)
        for number in done.duplicates:
            LOG.info("Also rerunning duplicate fw_id: %s", number)
        return [*([fw_id] if done.planned else []), *done.duplicates]

    def pause_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Pause a firework that has not started. Returns its id, name and state, or None if it is unchanged."""
        from rekindle.dialects.fireworks.firework_operations import pause

        now = self._change_firework(pause, fw_id)
        if now is None:
            LOG.error("No pausable (WAITING,READY,RESERVED) Firework exists with fw_id=%s", fw_id)
        return now

    def resume_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Resume a paused firework. Returns as `pause_fw`."""
        from rekindle.dialects.fireworks.firework_operations import resume

        return self._change_firework(resume, fw_id)

    def defuse_fw(self, fw_id: int, rerun_duplicates: bool = True) -> dict[str, Any] | None:
        """Defuse a firework. A completed or running one is reset first, with its descendants; with `rerun_duplicates`
        the fireworks that share its launch are rerun. Returns as `pause_fw`."""
        from rekindle.dialects.fireworks.firework_operations import defuse

        return self._change_firework(partial(defuse, with_duplicates=rerun_duplicates), fw_id, NO_FW)

    def reignite_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Reignite a defused firework. If it had fizzled, it is FIZZLED again. Returns as `pause_fw`."""
        from rekindle.dialects.fireworks.firework_operations import reignite

        return self._change_firework(reignite, fw_id)

    def defuse_wf(self, fw_id: int, defuse_all_states: bool = True) -> None:
        """Defuse the workflow of a firework. Without `defuse_all_states` completed and fizzled fireworks keep their
        state."""
        from rekindle.dialects.fireworks.firework_operations import defuse_workflows

        with self.reconciled() as session:
            workflow = workflow_of_firework(session, fw_id)
            _log_refused(defuse_workflows(session, [workflow.id], all_states=defuse_all_states))

    def pause_wf(self, fw_id: int) -> None:
        """Pause the workflow of a firework."""
        from rekindle.dialects.fireworks.firework_operations import pause_workflows

        with self.reconciled() as session:
            _log_refused(pause_workflows(session, [workflow_of_firework(session, fw_id).id]))

    def reignite_wf(self, fw_id: int) -> None:
        """Reignite the defused fireworks in the workflow of a firework."""
        from rekindle.dialects.fireworks.firework_operations import reignite_workflows

        with self.reconciled() as session:
            _log_refused(reignite_workflows(session, [workflow_of_firework(session, fw_id).id]))

    def archive_wf(self, fw_id: int) -> None:
        """Archive the workflow of a firework: it is kept and does not run."""
        from rekindle.engine.submit.submit import archive_workflow

        with self.reconciled() as session:
            workflow = workflow_of_firework(session, fw_id)
            if workflow.archived is None:
                archive_workflow(session, workflow.id)

    def delete_wf(self, fw_id: int, delete_launch_dirs: bool = False) -> None:
        """Delete the workflow of a firework with its history, and on request its launch folders. This cannot be
        undone."""
        from rekindle.engine.submit.submit import delete_workflow

        with self.reconciled() as session:
            delete_workflow(session, workflow_of_firework(session, fw_id).id, files=delete_launch_dirs)

    def set_priority(self, fw_id: int, priority: int) -> None:
        """Set the priority of a firework: the highest runs first."""
        from rekindle.dialects.fireworks.workflow_operations import set_priority

        with self.opened() as session:
            existing_fireworks(session, [fw_id])
            _log_refused(set_priority(session, [fw_id], priority))

    def update_spec(self, fw_ids: Sequence[int], spec_document: Mapping[str, Any], mongo: bool = False) -> None:
        """Change the specs of fireworks, by dotted paths within the spec or by a MongoDB update. Completed and
        running fireworks are not changed."""
        from rekindle.dialects.fireworks.workflow_operations import mongo_update, set_values, update_specs

        change = mongo_update(spec_document) if mongo else set_values(spec_document)
        with self.reconciled() as session:
            existing_fireworks(session, fw_ids)
            _log_refused(update_specs(session, list(fw_ids), change))

    def detect_lostruns(
        self,
        expiration_secs: float = 0,
        fizzle: bool = False,
        rerun: bool = False,
        max_runtime: float | None = None,
        min_runtime: float | None = None,
        refresh: bool = False,
        query: Mapping[str, Any] | None = None,
        launch_query: Mapping[str, Any] | None = None,
    ) -> tuple[list[int], list[int], list[int]]:
        """Find runs whose runner is dead. Returns the lost launches, the lost fireworks, and the fireworks that ended
        without a record, by id.

        Lost runs are known at once: `expiration_secs` only leaves out launches that began later. Offline launches, and
        those of scripts, are lost after this time (default: four hours) without a sign of life. `fizzle` leaves the
        lost ones FIZZLED, `rerun` runs them again, and `refresh` records the ends."""
        from rekindle.dialects.fireworks.firework_operations import FOUR_HOURS, find_lost_runs, resolve_lost_runs

        with self.opened() as session:
            least = max(expiration_secs, min_runtime or 0)
            found = find_lost_runs(
                session,
                query,
                launch_query,
                min_age=least,
                max_age=max_runtime,
                silent_for=expiration_secs or FOUR_HOURS,
            )
            resolve_lost_runs(session, found, fizzle=fizzle, rerun_lost=rerun, refresh=refresh)
        return list(found.lost.values()), list(found.lost), list(found.finished)

    def reset(self, password: str, require_password: bool = True, max_reset_wo_password: int = 25) -> None:
        """Remove all FireWorks workflows of the store; others stay. Ids begin again after theirs.

        The password is today's date. Without `require_password` up to `max_reset_wo_password` workflows are removed
        without it. Raises LaunchPadRefused if this LaunchPad names a database and no store, because the nearest store
        may not be the one that is meant."""
        from rekindle.dialects.fireworks.stored_fireworks import fireworks_workflows
        from rekindle.dialects.fireworks.workflow_operations import remove_workflows

        if self.store is None and (self.host or self.name):
            raise LaunchPadRefused(
                f"this LaunchPad names a database ({self.name or self.host}), and would remove what is in a store",
                hint="LaunchPad(store=FOLDER) says which one is meant",
            )
        today = date.today().isoformat()
        with self.reconciled() as session:
            count = len(fireworks_workflows(session))
            if password != today and require_password:
                raise LaunchPadRefused(f"Invalid password! Password is today's date: {today}")
            if password != today and count > max_reset_wo_password:
                raise LaunchPadRefused(
                    f"Password check cannot be overridden since the size of DB ({count} workflows) is greater than the "
                    f"max_reset_wo_password parameter ({max_reset_wo_password})",
                    hint=f"the password is today's date: {today}",
                )
            remove_workflows(session)
        LOG.info("LaunchPad was RESET.")

    def _change_firework(self, operation: Operation, fw_id: int, unknown: str = NO_FIREWORK) -> dict[str, Any] | None:
        with self.reconciled() as session:
            refused = operation(session, existing_fireworks(session, [fw_id], unknown))
            _log_refused(refused)
            (now,) = existing_fireworks(session, [fw_id])
        return None if refused else {"fw_id": now.id, "name": now.job.name, "state": now.state}


def _launch_to_recover(session: Session, fw_id: int, wanted: Literal["last"] | int) -> int:
    """Return the launch that a recovery continues. Raises LaunchPadNotFound or LaunchPadRefused, with FireWorks'
    words, if the firework has none."""
    every = job_queries.attempts(session, [fw_id])
    live = [one.id for one in every if one.archived_by is None]
    if isinstance(wanted, int):
        if wanted not in {one.id for one in every}:
            raise LaunchPadNotFound(
                f"launch_id: {wanted} is no launch of fw_id: {fw_id}: FW with id {fw_id} cannot be recovered from it"
            )
        return wanted
    if not live:
        raise LaunchPadRefused(f"FW with id: {fw_id} has no active launches", hint="recover_launch=None reruns it")
    return live[-1]


def _log_refused(refused: Mapping[int, str]) -> None:
    for number, why in refused.items():
        LOG.warning("fw_id=%s is left as it is: %s", number, why)


def _assign_ids(wf: Any, ids: Mapping[int, int]) -> None:
    """Set the new ids on FireWorks objects, as FireWorks' LaunchPad does."""
    for firework in getattr(wf, "fws", [wf]):
        firework.fw_id = ids.get(firework.fw_id, firework.fw_id)
    if hasattr(wf, "_reassign_ids"):
        wf._reassign_ids(ids)
