"""PyTask: a Python function by its name, its output for the fireworks that follow."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable
from typing import Any

from rekindle.dialects.fireworks.tasks.actions import is_fwaction
from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec

_OWN = ("func", "args", "kwargs", "auto_kwargs", "stored_data_varname", "inputs", "outputs", "chunk_number")


def py_task(given: Given, spec: Spec) -> Any:
    """`func`: `package.module.function` · `args`, `kwargs` · `auto_kwargs`: every other parameter is a keyword ·
    `inputs`: keys of the spec whose values follow the `args` · `outputs`: keys that the output goes to in the spec of
    what comes after, one for all of it or one for each part; with `chunk_number` it is appended there ·
    `stored_data_varname`. What the function raises is raised; an FWAction that it returns counts."""
    function = find_function(given.need("func"))
    outputs = given.texts("outputs")
    args = [*given.get("args", []), *(given.from_spec(spec, key) for key in given.texts("inputs"))]
    if given.get("auto_kwargs"):
        kwargs = {key: value for key, value in given.items() if key not in _OWN and not key.startswith("_")}
    else:
        kwargs = given.get("kwargs") or {}
    output = function(*args, **kwargs)
    if is_fwaction(output):
        return output
    action = _passed_on(given, outputs, output)
    if given.get("stored_data_varname"):
        action["stored_data"] = {given["stored_data_varname"]: output}
    return action


def find_function(name: object) -> Callable[..., Any]:
    """The function of that name: of a module, of a class in one, or a built-in one. BadTask when there is none;
    importing its module may raise anything."""
    if not isinstance(name, str) or not name.strip(".: "):
        raise BadTask(f"`func` of PyTask names a function, not {name!r:.80}", hint="as in math.sqrt")
    parts = name.replace(":", ".").split(".")
    if len(parts) == 1:
        return _within(builtins, parts, name)
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # `package.module.Class.method`: what is no module may be within one; a module's own imports may fail too.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            continue
        return _within(module, parts[length:], name)
    raise BadTask(f"PyTask finds no module {'.'.join(parts[:-1])!r:.120}", hint="is it installed where this job runs?")


def _within(found: Any, parts: list[str], name: str) -> Callable[..., Any]:
    for part in parts:
        if not hasattr(found, part):
            raise BadTask(f"PyTask finds no function {name!r:.120}", hint=f"there is no {part!r:.60}")
        found = getattr(found, part)
    if not callable(found):
        raise BadTask(f"{name!r:.120} is no function")
    function: Callable[..., Any] = found
    return function


def _passed_on(given: Given, outputs: list[str], output: Any) -> dict[str, Any]:
    if not outputs:
        return {}
    if len(outputs) == 1:
        if given.get("chunk_number") is None:
            return {"update_spec": {outputs[0]: output}}
        each = output if isinstance(output, list | tuple | set) else [output]
        return {"mod_spec": [{"_push": {outputs[0]: one}} for one in each]}
    if not isinstance(output, list | tuple | set) or len(output) != len(outputs):
        raise BadTask(f"PyTask has {len(outputs)} `outputs`, and {given['func']} returned {output!r:.80}")
    return {"update_spec": dict(zip(outputs, output, strict=True))}
