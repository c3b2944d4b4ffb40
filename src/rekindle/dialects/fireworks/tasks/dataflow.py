"""ForeachTask, JoinDictTask, JoinListTask and ImportDataTask: what goes through specs from task to task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec

_OF_A_LAUNCH = ("_fw_env", "_recovery")


def foreach_task(given: Given, spec: Spec) -> dict[str, Any]:
    """`task`: the Firetask that each firework does · `split`: a key of the spec, also among the task's `inputs`, whose
    list is parted among them · `number of chunks`: how many; one an element if not given. They are detours."""
    task, split = given.need("task"), given.need("split")
    if not isinstance(task, Mapping):
        raise BadTask(f"`task` of ForeachTask is a Firetask, not {task!r:.60}")
    inputs = task.get("inputs")
    if split not in (inputs if isinstance(inputs, list) else [inputs]):
        raise BadTask(f"`split` of ForeachTask, {split!r:.60}, is not among the `inputs` of its task")
    every = given.from_spec(spec, split)
    if not isinstance(every, list) or not every:
        raise BadTask(f"{split!r:.60} of the spec is no list of something, and ForeachTask is to part it")
    length = -(-len(every) // int(given.get("number of chunks") or len(every)))
    chunks = [every[start : start + length] for start in range(0, len(every), length)]
    shared = {key: value for key, value in spec.items() if key not in _OF_A_LAUNCH}
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


def join_dict(given: Given, spec: Spec) -> dict[str, Any]:
    """`inputs`: keys of the spec · `output`: the object that they are put into · `rename`: {input: its key there}."""
    output = given.need("output")
    joined = spec.get(output, {})
    if not isinstance(joined, Mapping):
        raise BadTask(f"{output!r:.60} of the spec is no object, and JoinDictTask is to add to it")
    names = given.get("rename") or {}
    given.need("inputs")
    added = {names.get(key, key): given.from_spec(spec, key) for key in given.texts("inputs")}
    return {"update_spec": {output: {**joined, **added}}}


def join_list(given: Given, spec: Spec) -> dict[str, Any]:
    """`inputs`: keys of the spec · `output`: the list that they are appended to."""
    output = given.need("output")
    joined = spec.get(output, [])
    if not isinstance(joined, list):
        raise BadTask(f"{output!r:.60} of the spec is no list, and JoinListTask is to append to it")
    given.need("inputs")
    return {"update_spec": {output: [*joined, *(given.from_spec(spec, key) for key in given.texts("inputs"))]}}


def import_data(given: Given, spec: Spec) -> dict[str, Any]:
    """`filename`: JSON or YAML, by its ending · `mapstring`: where in the spec it goes, as in `inputs/lattice`."""
    file = Path(given.need("filename"))
    data = _read(file)
    first, *rest = str(given.need("mapstring")).split("/")
    if not rest:
        return {"update_spec": {first: _joined(spec.get(first), data)}}
    top = deepcopy(given.from_spec(spec, first))
    inner = top
    for name in rest[:-1]:
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    if not isinstance(inner, dict):
        raise BadTask(f"the spec has no object at {'/'.join([first, *rest[:-1]])!r:.80}, where {file} is to go")
    inner[rest[-1]] = _joined(inner.get(rest[-1]), data)
    return {"update_spec": {first: top}}


def _read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(text)
    if file.suffix == ".yaml":
        return yaml.safe_load(text)
    raise BadTask(f"ImportDataTask reads files that end in .json or .yaml, not {str(file)!r:.80}")


def _joined(present: Any, data: Any) -> Any:
    return {**present, **data} if isinstance(present, Mapping) and isinstance(data, Mapping) else data
