"""FWActions as dynamic actions of jobs: spec changes of other fireworks, added workflows, detours and holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rekindle.dialects.fireworks.flow import Flow, firework_binding, job_name, job_template, parent_details
from rekindle.dialects.fireworks.fw_states import CHANGES_PARAM
from rekindle.dialects.fireworks.spec_changes import (
    STOPS_LATER_TASKS,
    BadSpecChange,
    as_list,
    check_modification,
    merge_actions,
)
from rekindle.domain.actions import Action


def rekindle_action(fwaction: Mapping[str, Any], launch_changes: Mapping[str, Any], job: int, task: int) -> Action:
    """Convert an FWAction of a job's task to an Action. `launch_changes`: the spec changes of the launch itself, if the
    attempt ends with this step."""
    for modification in as_list(fwaction.get("mod_spec")):
        check_modification(modification)
    own = merge_actions(
        {key: fwaction[key] for key in ("update_spec", "mod_spec") if fwaction.get(key)}, launch_changes
    )
    pushed = {"_push": {CHANGES_PARAM: {"by": [job, task], **own}}} if own else {}
    add: list[dict[str, Any]] = []
    detour: list[dict[str, Any]] = []
    for is_detour, with_changes, parents, flow in _added_flows(fwaction):
        entries = _job_entries(flow, job, (task, len(add) + len(detour)), with_changes=with_changes, parents=parents)
        ends = flow.leaves if is_detour else set()
        for number, entry in entries.items():
            (detour if number in ends else add).append(entry)
    return Action(
        result=merge_actions(fwaction, launch_changes) or None,
        set_children={} if fwaction.get("propagate") else pushed,
        set_descendants=pushed if fwaction.get("propagate") else {},
        add=add,
        detour=detour,
        hold_children=bool(fwaction.get("defuse_children")),
        hold_workflow=bool(fwaction.get("defuse_workflow")),
        exit=any(fwaction.get(key) for key in STOPS_LATER_TASKS),
    )


def _added_flows(fwaction: Mapping[str, Any]) -> Iterator[tuple[bool, bool, Sequence[int], Flow]]:
    """Yield each workflow to add: whether it is a detour, whether its roots get the spec changes made now, its
    further parents, and the workflow."""
    from rekindle.dialects.fireworks.flow_file import read_flow

    for key in ("detours", "append_wfs", "additions"):
        for at, one in enumerate(as_list(fwaction.get(key))):
            where = f"`{key}` of the FWAction, entry {at + 1}"
            if key != "append_wfs":
                yield key == "detours", False, (), read_flow(one, where)
                continue
            if not isinstance(one, Mapping) or "workflow" not in one:
                raise BadSpecChange(f"{where} is no object with a `workflow`")
            yield bool(one.get("detour")), True, as_list(one.get("parents")), read_flow(one["workflow"], where)


def _job_entries(
    flow: Flow, job: int, at: tuple[int, int], *, with_changes: bool, parents: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Return the jobs of a workflow to add, by their numbers in it. The names are the same in every attempt of this
    job."""
    task, before = at
    names = {
        one.id: f"{job_name(one.name)}.{job}-{task}-{before + place}" for place, one in enumerate(flow.fireworks, 1)
    }
    known, roots = {one.id: one for one in flow.fireworks}, flow.roots
    needs: dict[int, list[str]] = {one: [str(parent) for parent in parents] for one in roots}
    for parent, children in flow.links.items():
        for child in children:
            needs.setdefault(child, []).append(names[parent])
    entries: dict[int, dict[str, Any]] = {}
    for one in flow.fireworks:
        template = job_template(one.spec)
        extra: dict[str, Any] = {} if with_changes and one.id in roots else {"added_by": job}
        if template.when == "finished":
            fizzling = [known[parent] for parent, children in flow.links.items() if one.id in children]
            extra["parents"] = {names[each.id]: parent_details(each) for each in fizzling}
        entries[one.id] = {
            "name": names[one.id],
            "steps": [{"name": step.name, "call": step.call, "args": dict(step.args)} for step in template.steps],
            "needs": needs.get(one.id, []),
            "priority": template.priority,
            "workdir": template.workdir,
            "when": template.when,
            "values": firework_binding(one) | extra,
        }
    return entries
