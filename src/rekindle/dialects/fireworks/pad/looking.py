"""What a LaunchPad tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.pad.opening import NoSuch, Pad, fireworks, real, workflow_of
from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.dialects.fireworks.shown import firework_documents, flow_document, summary_document
from rekindle.dialects.fireworks.standing import fireworks_of
from rekindle.domain.errors import NotFound
from rekindle.engine.looking import look
from rekindle.engine.session import Session

Query = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]


class Looks(Pad):
    """Everything that changes nothing. Queries are MongoDB's, over the documents that FireWorks keeps."""

    def get_fw_ids(
        self,
        query: Query | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        count_only: bool = False,
        launches_mode: bool = False,
    ) -> Any:
        """The ids of the fireworks that a query is for (all without one), or how many there are. With
        `launches_mode` the query is over their live launches."""
        with self.opened() as session:
            found = select_fireworks(session, query or {}, launches=launches_mode, sort=sort or (), limit=limit)
        return len(found) if count_only else found

    def get_wf_ids(
        self, query: Query | None = None, sort: Sort | None = None, limit: int = 0, count_only: bool = False
    ) -> Any:
        """Of each workflow that a query is for the id of one firework, or how many workflows there are."""
        with self.opened() as session:
            found = select_workflows(session, query or {}, sort=sort or (), limit=limit)
            firsts = [min(fireworks_of(session, [one]), default=None) for one in found]
        return len(firsts) if count_only else [one for one in firsts if one is not None]

    def get_fw_ids_in_wfs(
        self,
        wf_query: Query | None = None,
        fw_query: Query | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        count_only: bool = False,
        launches_mode: bool = False,
    ) -> Any:
        """The ids of the fireworks that a query is for, within the workflows that another is for."""
        with self.opened() as session:
            within = set(fireworks_of(session, select_workflows(session, wf_query or {})))
            every = select_fireworks(session, fw_query or {}, launches=launches_mode, sort=sort or ())
        found = [one for one in every if one in within][: limit or None]
        return len(found) if count_only else found

    def get_fw_dict_by_id(self, fw_id: int) -> dict[str, Any]:
        """A firework with its spec and all of its launches. NoSuch, a ValueError, where there is none."""
        with self.opened() as session:
            return _document(session, fw_id)

    def get_fw_by_id(self, fw_id: int) -> Any:
        """The same as an object of FireWorks', which must be installed."""
        made = real("Firework")
        return made.from_dict(self.get_fw_dict_by_id(fw_id))

    def get_launch_by_id(self, launch_id: int) -> Any:
        """A launch as an object of FireWorks', which must be installed. NoSuch where there is none."""
        made = real("Launch")
        with self.opened() as session:
            try:
                job = look.attempt(session, launch_id).job
            except NotFound:
                raise NoSuch(f"No Launch exists with launch_id: {launch_id}") from None
            document = _document(session, job)
        every = [*document["launches"], *document["archived_launches"]]
        return made.from_dict(next(one for one in every if one["launch_id"] == launch_id))

    def get_wf_by_fw_id(self, fw_id: int) -> Any:
        """The workflow that a firework is of, as an object of FireWorks', which must be installed."""
        made = real("Workflow")
        with self.opened() as session:
            return made.from_dict(flow_document(session, workflow_of(session, fw_id)))

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Any:
        """The same: there is nothing that would be slow to read."""
        return self.get_wf_by_fw_id(fw_id)

    def get_wf_summary_dict(self, fw_id: int, mode: str = "more") -> dict[str, Any]:
        """The workflow that a firework is of at a glance: `less`, `more`, `all` or `reservations`."""
        with self.opened() as session:
            found = summary_document(session, workflow_of(session, fw_id), mode)
        return {**found, "name": found["name"].rpartition("--")[0]}

    def get_launchdir(self, fw_id: int, launch_idx: int = -1) -> str | None:
        """The folder of a firework's live launch; None: it has none."""
        with self.opened() as session:
            fireworks(session, [fw_id])
            live = look.attempts(session, [fw_id], live=True)
        return live[launch_idx].folder if live else None

    def run_exists(self, fworker: Any = None) -> bool:
        """Whether any firework is ready, of those that the fworker launches."""
        return bool(self.get_fw_ids(_launched_by(fworker, {"state": "READY"}), limit=1))

    def future_run_exists(self, fworker: Any = None) -> bool:
        """Whether any firework is ready, or waits for one that runs or is ready."""
        if self.run_exists(fworker):
            return True
        active = self.get_fw_ids({"state": {"$in": ["RUNNING", "RESERVED"]}})
        with self.opened() as session:
            below = look.children_of(session, active)
        waiting = sorted({child for children in below.values() for child in children})
        return bool(self.get_fw_ids(_launched_by(fworker, {"state": "WAITING", "fw_id": {"$in": waiting}}), limit=1))


def _launched_by(fworker: Any, query: dict[str, Any]) -> Query:
    return query if fworker is None else {"$and": [query, dict(fworker.query)]}


def _document(session: Session, fw_id: int) -> dict[str, Any]:
    fireworks(session, [fw_id])
    (found,) = firework_documents(session, [fw_id], times=True)
    return {**found, "launches": found.get("launches", []), "archived_launches": found.get("archived_launches", [])}
