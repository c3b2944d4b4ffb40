"""What a LaunchPad does to fireworks and workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from rekindle.dialects.fireworks.adding import add_flow
from rekindle.dialects.fireworks.pad.opening import LOG, Impossible, Pad, fireworks, workflow_of
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.fireworks.rerunning import NO_LAUNCHES, Recovery, rerun_fireworks
from rekindle.dialects.fireworks.standing import Standing, fireworks_of, standing
from rekindle.dialects.fireworks.words import STATES
from rekindle.domain.errors import BadValue
from rekindle.engine.session import Session

Act = Callable[[Session, Sequence[Standing]], Mapping[int, str]]

_FOLDERS: Mapping[str, Literal["copy", "same"]] = {"cp": "copy", "prev_dir": "same"}


class Changes(Pad):
    """Everything that changes something. What is refused is logged, as FireWorks does, and what is not there is a
    ValueError."""

    def add_wf(self, wf: Any, reassign_all: bool = True) -> dict[int, int]:  # noqa: ARG002 (FireWorks' signature)
        """Add a Workflow or a Firework: FireWorks' own object, or its dict. Returns the new ids by the old ones; an
        object is given them. Ids are always new ones, whatever `reassign_all` says."""
        flow = read_document(wf if isinstance(wf, Mapping) else wf.to_dict())
        with self.opened() as session:
            ids = add_flow(session, flow, str(Path.cwd()))
        if not isinstance(wf, Mapping):
            _renumber(wf, ids)
        LOG.info("Added a workflow. id_map: %s", ids)
        return ids

    def bulk_add_wfs(self, wfs: Iterable[Any]) -> None:
        """Add several. All are read before the first is added."""
        every = list(wfs)
        for wf in every:
            read_document(wf if isinstance(wf, Mapping) else wf.to_dict())
        for wf in every:
            self.add_wf(wf)

    def append_wf(
        self, new_wf: Any, fw_ids: Sequence[int], detour: bool = False, pull_spec_mods: bool = True
    ) -> dict[int, int]:
        """Append a Workflow or a Firework behind fireworks of one workflow; with `detour` what needs these needs the
        new ones too. Returns the new ids by the old ones."""
        from rekindle.dialects.fireworks.appending import append_flow

        flow = read_document(new_wf if isinstance(new_wf, Mapping) else new_wf.to_dict())
        with self.opened() as session:
            fireworks(session, fw_ids)
            ids = append_flow(session, list(fw_ids), flow, detour=detour, pull=pull_spec_mods)
        if not isinstance(new_wf, Mapping):
            _renumber(new_wf, ids)
        LOG.info("Appended a workflow. id_map: %s", ids)
        return ids

    def rerun_fw(
        self,
        fw_id: int,
        rerun_duplicates: bool = True,  # noqa: ARG002 (FireWorks' signature)
        recover_launch: Literal["last"] | int | None = None,
        recover_mode: Literal["cp", "prev_dir"] | None = None,
    ) -> list[int]:
        """Rerun a firework, and everything that needs it. Returns the ids of what was rerun: none, where it stands so
        that it cannot be. With `recover_launch` from the task that failed, of the last launch or of that one; and
        with `recover_mode` in a copy of its folder, or in that folder. Duplicates have launches of their own, and are
        left as they are."""
        if recover_mode is not None and recover_mode not in _FOLDERS:
            raise BadValue(f"there is no recover_mode {recover_mode!r}", hint="cp or prev_dir")
        folder = _FOLDERS[recover_mode] if recover_launch is not None and recover_mode is not None else None
        recovery = Recovery(task_level=recover_launch is not None, folder=folder)
        launches = {fw_id: recover_launch} if isinstance(recover_launch, int) else NO_LAUNCHES
        with self.reconciled() as session:
            fireworks(session, [fw_id])
            done = rerun_fireworks(session, [fw_id], recovery, {"jobs": [fw_id]}, launches)
        for number, why in (*done.skipped, *done.refused):
            if recover_launch is not None:
                raise Impossible(
                    f"FW with id {number} cannot be recovered: {why}", hint="recover_launch=None reruns it"
                )
            LOG.warning("Cannot rerun fw_id=%s: %s", number, why)
        return [fw_id] if done.planned else []

    def pause_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Pause a firework that has not started. Returns it, or None where it is left as it is."""
        from rekindle.dialects.fireworks.holds import pause

        return self._do(pause, fw_id)

    def resume_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Resume one that is paused."""
        from rekindle.dialects.fireworks.holds import resume

        return self._do(resume, fw_id)

    def defuse_fw(self, fw_id: int, rerun_duplicates: bool = True) -> dict[str, Any] | None:  # noqa: ARG002 (as there)
        """Defuse a firework; one that has completed or runs is reset first, with what needs it."""
        from rekindle.dialects.fireworks.holds import defuse

        return self._do(defuse, fw_id)

    def reignite_fw(self, fw_id: int) -> dict[str, Any] | None:
        """Reignite one that is defused. What had fizzled before stays so."""
        from rekindle.dialects.fireworks.holds import reignite

        return self._do(reignite, fw_id)

    def defuse_wf(self, fw_id: int, defuse_all_states: bool = True) -> None:
        """Defuse the workflow of a firework; without `defuse_all_states` what has completed or fizzled stays."""
        from rekindle.dialects.fireworks.holds import defuse

        self._do_all(defuse, fw_id, () if defuse_all_states else ("COMPLETED", "FIZZLED"))

    def pause_wf(self, fw_id: int) -> None:
        """Pause the workflow of a firework."""
        from rekindle.dialects.fireworks.holds import pause

        self._do_all(pause, fw_id, ("COMPLETED", "FIZZLED", "DEFUSED", "RUNNING", "RESERVED"))

    def reignite_wf(self, fw_id: int) -> None:
        """Reignite what is defused in the workflow of a firework."""
        from rekindle.dialects.fireworks.holds import reignite

        self._do_all(reignite, fw_id, tuple(word for word in STATES if word != "DEFUSED"))

    def archive_wf(self, fw_id: int) -> None:
        """Archive the workflow of a firework: it is kept, and not run."""
        from rekindle.engine.submitting.submit import archive_workflow

        with self.reconciled() as session:
            workflow = workflow_of(session, fw_id)
            if workflow.archived is None:
                archive_workflow(session, workflow.id)

    def delete_wf(self, fw_id: int, delete_launch_dirs: bool = False) -> None:
        """Delete the workflow of a firework with its history, and with the folders of its launches. This cannot be
        undone."""
        from rekindle.engine.submitting.submit import delete_workflow

        with self.reconciled() as session:
            delete_workflow(session, workflow_of(session, fw_id).id, files=delete_launch_dirs)

    def set_priority(self, fw_id: int, priority: int) -> None:
        """Set a firework's priority: the highest runs first."""
        from rekindle.dialects.fireworks.updating import setting, update_specs

        with self.opened() as session:
            fireworks(session, [fw_id])
            _tell(update_specs(session, [fw_id], setting({"_priority": priority}), STATES))

    def update_spec(self, fw_ids: Sequence[int], spec_document: Mapping[str, Any], mongo: bool = False) -> None:
        """Change the specs of fireworks: dotted names within the spec, or an update of MongoDB's. Those that have
        completed or run are left as they are."""
        from rekindle.dialects.fireworks.updating import operating, setting, update_specs

        change = operating(spec_document) if mongo else setting(spec_document)
        with self.reconciled() as session:
            fireworks(session, fw_ids)
            _tell(update_specs(session, list(fw_ids), change))

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
        """What runs no more, and nobody has told: the ids of launches and fireworks that are lost, and of fireworks
        that have come to an end. That is known at once: `expiration_secs` leaves out what began later. What is lost
        can be let fizzle, or run again."""
        from rekindle.dialects.fireworks import losing

        with self.opened() as session:
            found = losing.gone(session)
            wanted = losing.restricted(session, [*found.lost, *found.finished], query, launch_query)
            wanted &= losing.aged(session, wanted, max(expiration_secs, min_runtime or 0), max_runtime)
            lost, ended = sorted(wanted & found.lost.keys()), sorted(wanted & found.finished)
            if lost and (fizzle or rerun):
                losing.take_in(session, lost) if rerun else losing.fizzle(session, lost)
            if ended and (refresh or fizzle or rerun):
                losing.take_in(session, ended)
        return [found.lost[one] for one in lost], lost, ended

    def reset(self, password: str, require_password: bool = True, max_reset_wo_password: int = 25) -> None:
        """Remove all workflows that came through FireWorks' commands; others of the store stay. It takes today's date
        as password; without `require_password` none, for so many workflows. Refused where a database is named and no
        store: it may not be this one that is meant."""
        from rekindle.dialects.fireworks.removing import remove_all
        from rekindle.dialects.fireworks.stored import workflows

        if self.store is None and (self.host or self.name):
            raise Impossible(
                f"this LaunchPad names a database ({self.name or self.host}), and would remove what is in a store",
                hint="LaunchPad(store=FOLDER) says which one is meant",
            )
        today = date.today().isoformat()
        with self.opened() as session:
            count = len(workflows(session))
            if password != today and require_password:
                raise Impossible(f"Invalid password! Password is today's date: {today}")
            if password != today and count > max_reset_wo_password:
                raise Impossible(
                    f"there are {count} workflows, more than max_reset_wo_password ({max_reset_wo_password})",
                    hint=f"the password is today's date: {today}",
                )
            remove_all(session)
        LOG.info("LaunchPad was RESET.")

    def _do(self, act: Act, fw_id: int) -> dict[str, Any] | None:
        with self.reconciled() as session:
            refused = act(session, fireworks(session, [fw_id]))
            _tell(refused)
            (now,) = fireworks(session, [fw_id])
        return None if refused else {"fw_id": now.id, "name": now.job.name, "state": now.word}

    def _do_all(self, act: Act, fw_id: int, spared: Sequence[str]) -> None:
        with self.reconciled() as session:
            every = standing(session, fireworks_of(session, [workflow_of(session, fw_id).id]))
            _tell(act(session, [one for one in every if one.word not in spared]))


def _tell(refused: Mapping[int, str]) -> None:
    for number, why in refused.items():
        LOG.warning("fw_id=%s is left as it is: %s", number, why)


def _renumber(wf: Any, ids: Mapping[int, int]) -> None:
    """Let objects of FireWorks' know their ids, as its own LaunchPad does."""
    for firework in getattr(wf, "fws", [wf]):
        firework.fw_id = ids.get(firework.fw_id, firework.fw_id)
    if hasattr(wf, "_reassign_ids"):
        wf._reassign_ids(ids)
