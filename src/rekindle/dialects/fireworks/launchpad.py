"""LaunchPad: the class that FireWorks' scripts use, over a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.document_collections import Collection
from rekindle.dialects.fireworks.fw_documents import flow_document, summary_document
from rekindle.dialects.fireworks.launchpad_base import existing_fireworks, fireworks_class, workflow_of_firework
from rekindle.dialects.fireworks.launchpad_launches import LaunchPadLaunches, existing_launch, launch_of
from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.dialects.fireworks.stored_fireworks import fireworks_of
from rekindle.engine.queries import job_queries

Query = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]


class LaunchPad(LaunchPadLaunches):
    """FireWorks' LaunchPad over a store. Scripts change one import:

        from rekindle.dialects.fireworks import LaunchPad

    Queries are MongoDB queries over the documents that FireWorks keeps."""

    @property
    def fireworks(self) -> Collection:
        """Return the fireworks as a collection to query."""
        return Collection("fireworks", self.opened)

    @property
    def launches(self) -> Collection:
        """Return the launches, archived ones too, as a collection to query."""
        return Collection("launches", self.opened)

    @property
    def offline_runs(self) -> Collection:
        """Return the offline launches that have not ended as a collection to query."""
        return Collection("offline_runs", self.opened)

    @property
    def workflows(self) -> Collection:
        """Return the workflows as a collection to query."""
        return Collection("workflows", self.opened)

    def get_fw_ids(
        self,
        query: Query | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        count_only: bool = False,
        launches_mode: bool = False,
    ) -> Any:
        """Return the ids of the fireworks that match a query (default: all), or their number. With `launches_mode`
        the query is over their live launches."""
        with self.opened() as session:
            found = select_fireworks(session, query or {}, launches=launches_mode, sort=sort or (), limit=limit)
        return len(found) if count_only else found

    def get_wf_ids(
        self, query: Query | None = None, sort: Sort | None = None, limit: int = 0, count_only: bool = False
    ) -> Any:
        """Return the id of one firework of each workflow that matches a query, or the number of workflows."""
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
        """Return the ids of the fireworks that match `fw_query` in the workflows that match `wf_query`, or their
        number."""
        with self.opened() as session:
            within = set(fireworks_of(session, select_workflows(session, wf_query or {})))
            every = select_fireworks(session, fw_query or {}, launches=launches_mode, sort=sort or ())
        found = [one for one in every if one in within][: limit or None]
        return len(found) if count_only else found

    def get_fw_by_id(self, fw_id: int) -> Any:
        """Return a firework as a FireWorks object. Needs the package fireworks."""
        made = fireworks_class("Firework")
        return made.from_dict(self.get_fw_dict_by_id(fw_id))

    def get_launch_by_id(self, launch_id: int) -> Any:
        """Return a launch as a FireWorks object. Needs the package fireworks. Raises LaunchPadNotFound for an unknown
        id."""
        made = fireworks_class("Launch")
        with self.opened() as session:
            return made.from_dict(launch_of(session, existing_launch(session, launch_id)))

    def get_wf_by_fw_id(self, fw_id: int) -> Any:
        """Return the workflow of a firework as a FireWorks object. Needs the package fireworks."""
        made = fireworks_class("Workflow")
        with self.opened() as session:
            return made.from_dict(flow_document(session, workflow_of_firework(session, fw_id)))

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Any:
        """Return the same as `get_wf_by_fw_id`: nothing is loaded lazily."""
        return self.get_wf_by_fw_id(fw_id)

    def get_wf_summary_dict(self, fw_id: int, mode: str = "more") -> dict[str, Any]:
        """Summarize the workflow of a firework. `mode`: less, more, all or reservations."""
        with self.opened() as session:
            found = summary_document(session, workflow_of_firework(session, fw_id), mode)
        return {**found, "name": found["name"].rpartition("--")[0]}

    def get_launchdir(self, fw_id: int, launch_idx: int = -1) -> str | None:
        """Return the folder of a firework's live launch, or None if it has none."""
        with self.opened() as session:
            existing_fireworks(session, [fw_id])
            live = job_queries.attempts(session, [fw_id], live=True)
        return live[launch_idx].folder if live else None

    def run_exists(self, fworker: Any = None) -> bool:
        """Return whether any firework that the fworker launches is ready."""
        return bool(self.get_fw_ids(_with_fworker_query(fworker, {"state": "READY"}), limit=1))

    def future_run_exists(self, fworker: Any = None) -> bool:
        """Return whether any firework is ready, or waits for one that is ready or runs."""
        if self.run_exists(fworker):
            return True
        active = self.get_fw_ids({"state": {"$in": ["RUNNING", "RESERVED"]}})
        with self.opened() as session:
            below = job_queries.child_ids(session, active)
        waiting = sorted({child for children in below.values() for child in children})
        return bool(
            self.get_fw_ids(_with_fworker_query(fworker, {"state": "WAITING", "fw_id": {"$in": waiting}}), limit=1)
        )


def _with_fworker_query(fworker: Any, query: dict[str, Any]) -> Query:
    return query if fworker is None else {"$and": [query, dict(fworker.query)]}
