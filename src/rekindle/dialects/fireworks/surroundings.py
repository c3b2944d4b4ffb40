"""What a launch is given beside its tasks, and what it leaves to the next: files, where it ran, by whom."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.tasks.details import details_of
from rekindle.dialects.fireworks.tasks.fworkers import fworker
from rekindle.domain.states import ENDED_BADLY

if TYPE_CHECKING:
    from rekindle.worker.context import Context


def around(spec: Mapping[str, Any], ctx: Context) -> dict[str, Any]:
    """The spec with what tasks find in it about where they run: `_fw_env`, `_fizzled_parents`, and
    `_exception_details` of what the launch before this one raised."""
    found = {**spec, "_fw_env": fworker().get("env") or {}}
    if spec.get("_allow_fizzled_parents"):
        found["_fizzled_parents"] = fizzled_parents(ctx)
    before = ctx.before or {}
    details = details_of((before.get("error") or {}).get("traceback", ""))
    return found if details is None else {**found, "_exception_details": details}


def describe(spec: Mapping[str, Any], ctx: Context, *, again: bool) -> None:
    """Leave the firework as FireWorks does, in FW.json of the launch's folder, or as PRINT_FW_JSON and PRINT_FW_YAML of
    the configuration say; `again`: only where there is none."""
    from rekindle.dialects.fireworks.tasks.configuration import configuration

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


def fizzled_parents(ctx: Context) -> list[dict[str, Any]]:
    """The fireworks that this one needs and that fizzled, as FireWorks hands them on."""
    known = ctx.matrix.get("parents", {})
    found = []
    for name, one in ctx.inputs.items():
        if one.get("state") not in _FIZZLED:
            continue
        error = one.get("error") or {}
        trace = error.get("traceback") or "\n".join(filter(None, (error.get("message"), error.get("stderr"))))
        exception = {"_stacktrace": trace, "_details": details_of(trace)}
        stored = {"_message": "runtime error during task", "_exception": exception}
        launch = {"state": "FIZZLED", "action": {"stored_data": stored}}
        launches = [launch] if one.get("attempt") else []
        about = known.get(name, {"name": name})
        found.append({"fw_id": one.get("job"), **about, "state": "FIZZLED", "launches": launches})
    return found


_FIZZLED = tuple(state.label for state in ENDED_BADLY)


def bring_files(spec: Mapping[str, Any], *, again: bool) -> None:
    """Copy what earlier fireworks made (`_files_prev`) to the names of `_files_in`; `again`: only what is not there.
    FileNotFoundError names what is gone."""
    made = spec.get("_files_prev") or {}
    for name, target in (spec.get("_files_in") or {}).items():
        if name in made and not (again and Path(target).exists()):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made[name], target)


def parting(spec: Mapping[str, Any], ctx: Context) -> dict[str, Any]:
    """What a launch that completes changes in the specs of its children by itself: where the files of `_files_out` are,
    with `_pass_job_info` where it and those before it ran, with `_preserve_fworker` by whom."""
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
        told = [one for one in info if one.get("fw_id") != ctx.job] + [own]
        modifications += [{"_add_to_set": {"_job_info": one}} for one in told]
    left: dict[str, Any] = {"mod_spec": modifications} if modifications else {}
    if spec.get("_preserve_fworker") and fworker().get("name"):
        left["update_spec"] = {"_fworker": fworker()["name"]}
    return left
