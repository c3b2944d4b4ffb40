"""An FWAction becomes our action: spec changes for the children, jobs to add, what is held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.defining import about_parent, binding_of, template_of
from rekindle.dialects.fireworks.flows import plain_name
from rekindle.dialects.fireworks.fwactions import STOPPING, merged
from rekindle.dialects.fireworks.spec_changes import BadChange, check, listed
from rekindle.dialects.fireworks.words import CHANGES
from rekindle.domain.actions import Action

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.flows import Flow
    from rekindle.worker.context import Context


def action_of(found: Mapping[str, Any], left: Mapping[str, Any], ctx: Context, task: int) -> Action:
    """The action of a step whose task did what `found` (an FWAction) says; `left`: what the launch leaves beside it,
    where the attempt ends with this step."""
    for modification in listed(found.get("mod_spec")):
        check(modification)
    own = merged({key: found[key] for key in ("update_spec", "mod_spec") if found.get(key)}, left)
    pushed = {"_push": {CHANGES: {"by": [ctx.job, task], **own}}} if own else {}
    add: list[dict[str, Any]] = []
    detour: list[dict[str, Any]] = []
    for leads_on, hears, parents, flow in _flows(found):
        entries = _entries(flow, ctx, (task, len(add) + len(detour)), hears=hears, parents=parents)
        ends = flow.leaves if leads_on else set()
        for number, entry in entries.items():
            (detour if number in ends else add).append(entry)
    return Action(
        result=merged(found, left) or None,
        set_children={} if found.get("propagate") else pushed,
        set_descendants=pushed if found.get("propagate") else {},
        add=add,
        detour=detour,
        hold_children=bool(found.get("defuse_children")),
        hold_workflow=bool(found.get("defuse_workflow")),
        exit=any(found.get(key) for key in STOPPING),
    )


def _flows(found: Mapping[str, Any]) -> Iterator[tuple[bool, bool, Sequence[int], Flow]]:
    """What is to be added: whether what needs this firework needs it too, whether its roots get the changes of specs
    that are made now, which other fireworks they need, and the workflow."""
    from rekindle.dialects.fireworks.reading import read_document

    for key in ("detours", "append_wfs", "additions"):
        for at, one in enumerate(listed(found.get(key))):
            where = f"`{key}` of the FWAction, entry {at + 1}"
            if key != "append_wfs":
                yield key == "detours", False, (), read_document(one, where)
                continue
            if not isinstance(one, Mapping) or "workflow" not in one:
                raise BadChange(f"{where} is no object with a `workflow`")
            yield bool(one.get("detour")), True, listed(one.get("parents")), read_document(one["workflow"], where)


def _entries(
    flow: Flow, ctx: Context, at: tuple[int, int], *, hears: bool, parents: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """The jobs of a workflow to add, by their numbers in it; the same names whenever this job adds them."""
    task, before = at
    names = {
        one.id: f"{plain_name(one.name)}.{ctx.job}-{task}-{before + place}"
        for place, one in enumerate(flow.fireworks, 1)
    }
    known, roots = {one.id: one for one in flow.fireworks}, flow.roots
    needs: dict[int, list[str]] = {one: [str(parent) for parent in parents] for one in roots}
    for parent, children in flow.links.items():
        for child in children:
            needs.setdefault(child, []).append(names[parent])
    found = {}
    for one in flow.fireworks:
        template = template_of(one.spec)
        aside: dict[str, Any] = {} if hears and one.id in roots else {"added_by": ctx.job}
        if template.when == "finished":
            above = [known[parent] for parent, children in flow.links.items() if one.id in children]
            aside["parents"] = {names[each.id]: about_parent(each) for each in above}
        found[one.id] = {
            "name": names[one.id],
            "steps": [{"name": step.name, "call": step.call, "args": dict(step.args)} for step in template.steps],
            "needs": needs.get(one.id, []),
            "priority": template.priority,
            "workdir": template.workdir,
            "when": template.when,
            "values": binding_of(one) | aside,
        }
    return found
