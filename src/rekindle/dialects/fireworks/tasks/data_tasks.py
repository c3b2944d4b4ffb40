"""PyTask, and the tasks that pass data through specs: ForeachTask, JoinDictTask, JoinListTask and ImportDataTask."""

from __future__ import annotations

import builtins
import importlib
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from rekindle.dialects.fireworks.tasks.fwaction import is_fwaction
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec, TaskParameters

_PY_TASK_KEYS = ("func", "args", "kwargs", "auto_kwargs", "stored_data_varname", "inputs", "outputs", "chunk_number")


def py_task(parameters: TaskParameters, spec: Spec) -> Any:
    """Run PyTask: call a Python function.

    `func`: `package.module.function`. `args`, `kwargs`. `auto_kwargs`: every other parameter is a keyword. `inputs`:
    keys of the spec whose values follow the `args`. `outputs`: keys for the result in the specs of later fireworks,
    one for the whole or one for each part; with `chunk_number` it is appended. `stored_data_varname`. An FWAction
    that the function returns is used as it is."""
    function = find_function(parameters.need("func"))
    outputs = parameters.texts("outputs")
    args = [*parameters.get("args", []), *(parameters.from_spec(spec, key) for key in parameters.texts("inputs"))]
    if parameters.get("auto_kwargs"):
        kwargs = {
            key: value for key, value in parameters.items() if key not in _PY_TASK_KEYS and not key.startswith("_")
        }
    else:
        kwargs = parameters.get("kwargs") or {}
    output = function(*args, **kwargs)
    if is_fwaction(output):
        return output
    action = _output_action(parameters, outputs, output)
    if parameters.get("stored_data_varname"):
        action["stored_data"] = {parameters["stored_data_varname"]: output}
    return action


def find_function(name: object) -> Callable[..., Any]:
    """Return the function of this name: of a module, of a class in one, or a builtin. Raises BadTask if there is
    none, and whatever the import of its module raises."""
    if not isinstance(name, str) or not name.strip(".: "):
        raise BadTask(f"`func` of PyTask names a function, not {name!r:.80}", hint="as in math.sqrt")
    parts = name.replace(":", ".").split(".")
    if len(parts) == 1:
        return _find_attribute(builtins, parts, name)
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # `package.module.Class.method`: the missing module may be a class. Raise failures inside a module.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            continue
        return _find_attribute(module, parts[length:], name)
    raise BadTask(f"PyTask finds no module {'.'.join(parts[:-1])!r:.120}", hint="is it installed where this job runs?")


def _find_attribute(found: Any, parts: list[str], name: str) -> Callable[..., Any]:
    for part in parts:
        if not hasattr(found, part):
            raise BadTask(f"PyTask finds no function {name!r:.120}", hint=f"there is no {part!r:.60}")
        found = getattr(found, part)
    if not callable(found):
        raise BadTask(f"{name!r:.120} is no function")
    function: Callable[..., Any] = found
    return function


def _output_action(parameters: TaskParameters, outputs: list[str], output: Any) -> dict[str, Any]:
    if not outputs:
        return {}
    if len(outputs) == 1:
        if parameters.get("chunk_number") is None:
            return {"update_spec": {outputs[0]: output}}
        each = output if isinstance(output, list | tuple | set) else [output]
        return {"mod_spec": [{"_push": {outputs[0]: one}} for one in each]}
    if not isinstance(output, list | tuple | set) or len(output) != len(outputs):
        raise BadTask(f"PyTask has {len(outputs)} `outputs`, and {parameters['func']} returned {output!r:.80}")
    return {"update_spec": dict(zip(outputs, output, strict=True))}


_LAUNCH_KEYS = ("_fw_env", "_recovery")


def foreach_task(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run ForeachTask: add a firework for each chunk of a list, as detours.

    `task`: the Firetask of each firework. `split`: the spec key of the list, also among the task's `inputs`. `number
    of chunks`: default one for each element."""
    task, split = parameters.need("task"), parameters.need("split")
    if not isinstance(task, Mapping):
        raise BadTask(f"`task` of ForeachTask is a Firetask, not {task!r:.60}")
    inputs = task.get("inputs")
    if split not in (inputs if isinstance(inputs, list) else [inputs]):
        raise BadTask(f"`split` of ForeachTask, {split!r:.60}, is not among the `inputs` of its task")
    every = parameters.from_spec(spec, split)
    if not isinstance(every, list) or not every:
        raise BadTask(f"{split!r:.60} of the spec is no list that ForeachTask can split")
    length = -(-len(every) // int(parameters.get("number of chunks") or len(every)))
    chunks = [every[start : start + length] for start in range(0, len(every), length)]
    shared = {key: value for key, value in spec.items() if key not in _LAUNCH_KEYS}
    return {
        "detours": [
            {
                "fw_id": -1 - index,
                "name": f"ForeachTask {index}",
                "spec": {**shared, split: chunk, "_tasks": [{**task, "chunk_number": index}]},
            }
            for index, chunk in enumerate(chunks)
        ]
    }


def join_dict(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run JoinDictTask. `inputs`: keys of the spec. `output`: the object to add them to. `rename`: {input: key in the
    output}."""
    output = parameters.need("output")
    joined = spec.get(output, {})
    if not isinstance(joined, Mapping):
        raise BadTask(f"{output!r:.60} of the spec is no object to which JoinDictTask can add")
    names = parameters.get("rename") or {}
    parameters.need("inputs")
    added = {names.get(key, key): parameters.from_spec(spec, key) for key in parameters.texts("inputs")}
    return {"update_spec": {output: {**joined, **added}}}


def join_list(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run JoinListTask. `inputs`: keys of the spec. `output`: the list to append them to."""
    output = parameters.need("output")
    joined = spec.get(output, [])
    if not isinstance(joined, list):
        raise BadTask(f"{output!r:.60} of the spec is no list to which JoinListTask can append")
    parameters.need("inputs")
    return {
        "update_spec": {output: [*joined, *(parameters.from_spec(spec, key) for key in parameters.texts("inputs"))]}
    }


def import_data(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run ImportDataTask. `filename`: JSON or YAML, by its suffix. `mapstring`: the path in the spec, as in
    `inputs/lattice`."""
    file = Path(parameters.need("filename"))
    data = _read_data_file(file)
    first, *rest = str(parameters.need("mapstring")).split("/")
    if not rest:
        return {"update_spec": {first: _merge_data(spec.get(first), data)}}
    top = deepcopy(parameters.from_spec(spec, first))
    inner = top
    for name in rest[:-1]:
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    if not isinstance(inner, dict):
        raise BadTask(f"the spec has no object at {'/'.join([first, *rest[:-1]])!r:.80}, where {file} is to go")
    inner[rest[-1]] = _merge_data(inner.get(rest[-1]), data)
    return {"update_spec": {first: top}}


def _read_data_file(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(text)
    if file.suffix == ".yaml":
        return yaml.safe_load(text)
    raise BadTask(f"ImportDataTask reads files that end in .json or .yaml, not {str(file)!r:.80}")


def _merge_data(present: Any, data: Any) -> Any:
    return {**present, **data} if isinstance(present, Mapping) and isinstance(data, Mapping) else data
