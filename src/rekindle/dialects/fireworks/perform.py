"""Run one task of a firework: the callable of every step. It runs in the worker, so it imports little."""

from __future__ import annotations

import contextlib
import copy
import glob
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.dialects.fireworks.flow import UPDATES, Flow, firework_binding, job_name, job_template, parent_details
from rekindle.dialects.fireworks.fw_states import CHANGES_PARAM
from rekindle.dialects.fireworks.spec_changes import (
    STOPS_LATER_TASKS,
    BadSpecChange,
    apply_changes,
    apply_modification,
    as_list,
    check_modification,
    current_spec,
    merge_actions,
)
from rekindle.dialects.fireworks.tasks.fwaction import parse_details
from rekindle.dialects.fireworks.tasks.launch_environment import current_fworker
from rekindle.domain.actions import Action
from rekindle.domain.errors import NotFound
from rekindle.domain.states import ENDED_BADLY

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.flow import Flow
    from rekindle.engine.session import Session
    from rekindle.worker.function_calls import Context


def perform(task: int, ctx: Context) -> Action:
    """Run the task at position `task` of `_tasks`. Returns its FWAction as rekindle's Action."""
    launch_spec = current_spec(ctx.matrix, ctx.params)
    tasks = list(launch_spec.get("_tasks", ()))
    task_count = len(ctx.matrix["spec"].get("_tasks", ()))
    if task == 0 and launch_spec.get("_dupefinder"):
        known = _duplicate_action(ctx.job, launch_spec)
        if known is not None:
            return rekindle_action({**known, "exit": True} if task_count > 1 else known, {}, ctx, task)
    spec = _spec_at_launch(launch_spec, ctx)
    for _, result in sorted(ctx.steps.items(), key=lambda step: int(step[0].partition("-")[0])):
        spec = apply_changes(spec, result or {})
    _write_firework_files(launch_spec, ctx, again=task > 0)
    _copy_input_files(spec, again=task > 0)
    background = launch_spec.get("_background_tasks")
    if background:
        from rekindle.dialects.fireworks.tasks.background_tasks import start_background

        start_background(background, _spec_at_launch(launch_spec, ctx))
    done: dict[str, Any] = {}
    last = task >= task_count - 1
    for one in tasks[task:] if last else tasks[task : task + 1]:
        found = _run_task(one, spec)
        spec = apply_changes(spec, found)
        done = merge_actions(done, found)
        if any(found.get(key) for key in STOPS_LATER_TASKS):
            last = True
            break
    if background and last:
        from rekindle.dialects.fireworks.tasks.background_tasks import finish_background

        finish_background(background, _spec_at_launch(launch_spec, ctx))
    return rekindle_action(done, _children_changes(spec, ctx) if last else {}, ctx, task)


def _run_task(task: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    from rekindle.dialects.fireworks.tasks import run_task

    found: dict[str, Any] = run_task(copy.deepcopy(dict(task)), copy.deepcopy(dict(spec)))
    return {key: value for key, value in found.items() if value}


def rekindle_action(fwaction: Mapping[str, Any], launch_changes: Mapping[str, Any], ctx: Context, task: int) -> Action:
    """Convert an FWAction to an Action. `launch_changes`: the spec changes of the launch itself, if the attempt ends
    with this step."""
    for modification in as_list(fwaction.get("mod_spec")):
        check_modification(modification)
    own = merge_actions(
        {key: fwaction[key] for key in ("update_spec", "mod_spec") if fwaction.get(key)}, launch_changes
    )
    pushed = {"_push": {CHANGES_PARAM: {"by": [ctx.job, task], **own}}} if own else {}
    add: list[dict[str, Any]] = []
    detour: list[dict[str, Any]] = []
    updates: dict[str, Any] | None = None
    for is_detour, with_changes, parents, flow in _added_flows(fwaction):
        updates = _users_updates(ctx) if updates is None else updates
        at = (task, len(add) + len(detour))
        entries = _job_entries(flow, ctx, at, updates, with_changes=with_changes, parents=parents)
        ends = flow.leaves if is_detour else set()
        for number, entry in entries.items():
            (detour if number in ends else add).append(entry)
    result = merge_actions(fwaction, launch_changes) or None
    return Action(
        result=result,
        # What many detours get of the firework that adds them must not grow with their number.
        result_for_children={key: result[key] for key in result if key not in _ADDING} if result else None,
        set_children={} if fwaction.get("propagate") else pushed,
        set_descendants=pushed if fwaction.get("propagate") else {},
        add=add,
        detour=detour,
        hold_children=bool(fwaction.get("defuse_children")),
        hold_workflow=bool(fwaction.get("defuse_workflow")),
        exit=any(fwaction.get(key) for key in STOPS_LATER_TASKS),
    )


_ADDING = ("detours", "append_wfs", "additions")


def _added_flows(fwaction: Mapping[str, Any]) -> Iterator[tuple[bool, bool, Sequence[int], Flow]]:
    """Yield each workflow to add: whether it is a detour, whether its roots get the spec changes made now, its
    further parents, and the workflow."""
    from rekindle.dialects.fireworks.flow_file import read_flow

    for key in _ADDING:
        for at, one in enumerate(as_list(fwaction.get(key))):
            where = f"`{key}` of the FWAction, entry {at + 1}"
            if key != "append_wfs":
                yield key == "detours", False, (), read_flow(one, where)
                continue
            if not isinstance(one, Mapping) or "workflow" not in one:
                raise BadSpecChange(f"{where} is no object with a `workflow`")
            yield bool(one.get("detour")), True, as_list(one.get("parents")), read_flow(one["workflow"], where)


def _job_entries(
    flow: Flow,
    ctx: Context,
    at: tuple[int, int],
    updates: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    with_changes: bool,
    parents: Sequence[int],
) -> dict[int, dict[str, Any]]:
    """Return the jobs of a workflow to add, by their numbers in it. The names are the same in every attempt of this
    job. `updates`: what users changed in the specs of earlier ones, by name."""
    task, before = at
    names = {
        one.id: f"{job_name(one.name)}.{ctx.job}-{task}-{before + place}" for place, one in enumerate(flow.fireworks, 1)
    }
    fireworks = [replace(one, spec=_updated(one.spec, updates.get(names[one.id], ()))) for one in flow.fireworks]
    known, roots = {one.id: one for one in fireworks}, flow.roots
    needs: dict[int, list[str]] = {one: [str(parent) for parent in parents] for one in roots}
    for parent, children in flow.links.items():
        for child in children:
            needs.setdefault(child, []).append(names[parent])
    entries: dict[int, dict[str, Any]] = {}
    for one in fireworks:
        template = job_template(one.spec)
        extra: dict[str, Any] = {UPDATES: updates[names[one.id]]} if names[one.id] in updates else {}
        if template.when == "finished":
            fizzling = [known[parent] for parent, children in flow.links.items() if one.id in children]
            extra["parents"] = {names[each.id]: parent_details(each) for each in fizzling}
        entries[one.id] = {
            "name": names[one.id],
            "template": template.name,
            "steps": [{"name": step.name, "call": step.call, "args": dict(step.args)} for step in template.steps],
            "needs": needs.get(one.id, []),
            "priority": template.priority,
            "workdir": template.workdir,
            "when": template.when,
            "leave_running": template.leave_running,
            "values": firework_binding(one) | extra,
            "takes_changes": with_changes and one.id in roots,
        }
    return entries


def _users_updates(ctx: Context) -> dict[str, Any]:
    """Return the changes that users made to the fireworks that earlier launches of this one added, by job name."""
    session = None if ctx.attempt == 1 else _opened_store("the fireworks that it adds")
    if session is None:
        return {}
    from rekindle.dialects.fireworks.stored_fireworks import stored_binding
    from rekindle.engine.dynamic_actions import added_by
    from rekindle.engine.queries import job_queries

    with session:
        ids = list(added_by(session, ctx.job).values())
        jobs = [row.job for row in job_queries.jobs(session, ids)] if ids else []
    bindings = {job.name: stored_binding(job) for job in jobs if not job.retired}
    return {name: binding[UPDATES] for name, binding in bindings.items() if binding.get(UPDATES)}


def _updated(spec: Mapping[str, Any], updates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a spec with users' changes, without those that do not fit any more."""
    for one in updates:
        with contextlib.suppress(BadSpecChange):
            spec = apply_modification(spec, one)
    return spec


def _spec_at_launch(spec: Mapping[str, Any], ctx: Context) -> dict[str, Any]:
    """Return the spec with what FireWorks adds for tasks: `_fw_env`, `_fizzled_parents`, and `_exception_details` of
    the previous launch's exception."""
    found = {**spec, "_fw_env": current_fworker().get("env") or {}}
    if spec.get("_allow_fizzled_parents"):
        found["_fizzled_parents"] = _fizzled_parents(ctx)
    before = ctx.before or {}
    details = parse_details((before.get("error") or {}).get("traceback", ""))
    return found if details is None else {**found, "_exception_details": details}


def _write_firework_files(spec: Mapping[str, Any], ctx: Context, *, again: bool) -> None:
    """Write FW.json, or the files that PRINT_FW_JSON and PRINT_FW_YAML of the configuration select, into the launch
    folder. With `again` existing files stay."""
    from rekindle.dialects.fireworks.tasks.launch_environment import configuration

    about = {
        "spec": dict(spec),
        "fw_id": ctx.job,
        "name": ctx.matrix["name"],
        "created_on": ctx.matrix.get("created_on"),
        "state": "RUNNING",
    }
    for form in configuration().prints:
        path = Path(f"FW.{form}")
        if again and path.exists():
            continue
        if form == "json":
            text = json.dumps(about, indent=4, ensure_ascii=False)
        else:
            import yaml

            text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")


def _fizzled_parents(ctx: Context) -> list[dict[str, Any]]:
    """Return the fizzled parents as FireWorks puts them into the spec."""
    known = ctx.matrix.get("parents", {})
    found = []
    for name, one in ctx.inputs.items():
        if one.get("state") not in _FIZZLED:
            continue
        error = one.get("error") or {}
        trace = error.get("traceback") or "\n".join(filter(None, (error.get("message"), error.get("stderr"))))
        exception = {"_stacktrace": trace, "_details": parse_details(trace)}
        stored = {"_message": "runtime error during task", "_exception": exception}
        launch = {"state": "FIZZLED", "action": {"stored_data": stored}}
        launches = [launch] if one.get("attempt") else []
        about = known.get(name, {"name": name})
        found.append({"fw_id": one.get("job"), **about, "state": "FIZZLED", "launches": launches})
    return found


_FIZZLED = tuple(state.label for state in ENDED_BADLY)


def _copy_input_files(spec: Mapping[str, Any], *, again: bool) -> None:
    """Copy files of earlier fireworks (`_files_prev`) to the names in `_files_in`. With `again` existing files stay.
    Raises FileNotFoundError for a missing file."""
    made = spec.get("_files_prev") or {}
    for name, target in (spec.get("_files_in") or {}).items():
        if name in made and not (again and Path(target).exists()):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made[name], target)


def _children_changes(spec: Mapping[str, Any], ctx: Context) -> dict[str, Any]:
    """Return the spec changes that a completed launch makes in its children: paths of the `_files_out`; with
    `_pass_job_info` the folders of this and earlier launches; with `_preserve_fworker` the fworker's name."""
    sets: dict[str, Any] = {}
    here = str(Path.cwd())
    if "_files_out" in spec:
        for name, pattern in (spec["_files_out"] or {}).items():
            found = sorted(glob.glob(str(Path(here, pattern))))  # noqa: PTH207 - the pattern may be absolute
            if found:
                sets[f"_files_prev->{name}"] = found[-1]
    elif "_files_prev" in spec:
        sets["_files_prev"] = spec["_files_prev"]
    modifications: list[dict[str, Any]] = [{"_set": {name: value}} for name, value in sets.items()]
    if spec.get("_pass_job_info"):
        info = list(spec.get("_job_info", ()))
        own = {"fw_id": ctx.job, "name": ctx.matrix["name"], "launch_dir": here}
        every = [one for one in info if one.get("fw_id") != ctx.job] + [own]
        modifications += [{"_add_to_set": {"_job_info": one}} for one in every]
    changes: dict[str, Any] = {"mod_spec": modifications} if modifications else {}
    if spec.get("_preserve_fworker") and current_fworker().get("name"):
        changes["update_spec"] = {"_fworker": current_fworker()["name"]}
    return changes


def _duplicate_action(job: int, launch_spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the FWAction of the launch that this one duplicates, or None if there is none or the launch does not know
    its store."""
    from rekindle.dialects.fireworks.dupefinders import duplicate_action

    session = _opened_store("the `_dupefinder`")
    if session is None:
        return None
    with session:
        return duplicate_action(session, job, launch_spec)


def _opened_store(who: str) -> Session | None:
    """Open the store of this launch; None if the launch does not know it."""
    from rekindle.dialects.fireworks.tasks.launch_environment import launch_store
    from rekindle.dialects.fireworks.tasks.task_parameters import BadTask
    from rekindle.engine.session import open_session

    try:
        return open_session(launch_store(who), create=False)
    except (BadTask, NotFound):
        return None
