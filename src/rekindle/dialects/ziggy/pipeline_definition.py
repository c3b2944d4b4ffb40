"""Turn a pipeline of Ziggy's definition files into a Definition: a job for each unit of work of each node."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from rekindle.dialects.ziggy.configuration import (
    DATA_RECEIPT,
    Configuration,
    Node,
    Parameter,
    Pipeline,
    definition_files,
    nodes_below,
    read_configuration,
)
from rekindle.dialects.ziggy.datastore import MODELS, OWN_PREFIX, TASK_FOLDER, FileType, Level
from rekindle.dialects.ziggy.manifests import delivery_folders, read_delivery
from rekindle.dialects.ziggy.parameter_types import parse_value
from rekindle.dialects.ziggy.work_units import NodeUnits, each_needs_one, find_units, ordered_nodes
from rekindle.dialects.ziggy.xml_elements import word
from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, NotFound, Refused
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems, SourcePlace, from_python

if TYPE_CHECKING:
    from rekindle.dialects.ziggy.ziggy_properties import PipelineFolders

_STEPS = "rekindle.dialects.ziggy.task_data"
_DELIVERY = "delivery"

_RUN_SUBTASK = """\
{variables}
cd "${folder}/$REKINDLE_ITEM" || exit 1
rm -f SUBTASK_START.* SUBTASK_FINISH.* .COMPLETE .FAILED
while IFS= read -r left; do
  rm -rf "{prefix}earlier-$left"; mv "$left" "{prefix}earlier-$left"
done < "../.inputs/$REKINDLE_ITEM.left"
cp "../.inputs/$REKINDLE_ITEM.json" {node}-inputs.json || exit 1
: > "SUBTASK_START.$(date +%s%3N)"
{program} {node}
code=$?
: > "SUBTASK_FINISH.$(date +%s%3N)"
if [ $code -eq 0 ]; then : > .COMPLETE; else : > .FAILED; fi
exit $code"""


class XmlPipeline(msgspec.Struct, frozen=True):
    """A pipeline from definition files, and notes for the user about what is not used."""

    definition: Definition
    notes: tuple[str, ...]


class Portion(msgspec.Struct, frozen=True):
    """The part of a pipeline that is started: from the node `first` to the node `last`. None means no limit.

    `without_data`: it is shown and not started, so a node without a unit of work has one that stands for any.
    """

    first: str | None = None
    last: str | None = None
    without_data: bool = False


def read_definitions(folders: PipelineFolders, more: Sequence[Path]) -> Configuration | None:
    """Return what the definition folder and `more` files and folders define; None if there is no file. Raise SpecError
    with every problem of the files."""
    files = definition_files([*([folders.definitions] if folders.definitions.is_dir() else ()), *more])
    return read_configuration(files, str(folders.definitions)) if files else None


def define_pipeline(
    configuration: Configuration, name: str, folders: PipelineFolders, params: Mapping[str, str], portion: Portion
) -> XmlPipeline:
    """Return the pipeline of that name. `params` are values as typed.

    Raise Refused if a node has no unit of work, and NotFound if the program of one is not there.
    """
    pipeline = configuration.pipelines[name]
    translation = _Translation(configuration, pipeline, folders, portion)
    tree = translation.tree(params)
    problems = Problems(pipeline.element.file)
    root = from_python(tree, SourcePlace(), problems)
    unknown = {key: text for key, text in params.items() if key not in translation.parameters}
    definition = assemble(root, unknown, SpecSource(folders.home), problems)
    digest = blake3(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return XmlPipeline(replace(definition, source_digest=digest), tuple(translation.notes))


def _literal(text: str) -> str:
    """Return a text of a spec that means itself."""
    return text.replace("${", "$${")


class _Translation:
    """The spec of one pipeline."""

    def __init__(
        self, configuration: Configuration, pipeline: Pipeline, folders: PipelineFolders, portion: Portion
    ) -> None:
        self._configuration, self._pipeline, self._folders = configuration, pipeline, folders
        self.notes = [f"{one} is not used here ({one.file}, line {one.line})" for one in configuration.unsupported]
        self._nodes = ordered_nodes(pipeline, portion.first, portion.last)
        self._missing = ""
        receives = any(node.name == DATA_RECEIPT for node in self._nodes)
        receipt = folders.path(folders.receipt)
        self._deliveries = delivery_folders(receipt) if receives else []
        deliveries = [read_delivery(receipt / one) for one in self._deliveries]
        if receives and not self._deliveries and portion.without_data:
            self._deliveries = ["."]
        elif receives and not self._deliveries:
            self._missing = f"no delivery is in {receipt}"
            self.notes.append(f"{self._missing}: the node {DATA_RECEIPT} is left out")
            self._nodes = [node for node in self._nodes if node.name != DATA_RECEIPT]
        if not self._nodes:
            reason = self._missing or f"no path leads from {portion.first} to {portion.last}"
            raise Refused(f"{pipeline.name}: {reason}", hint="see ziggy.pipeline.data.receipt.dir and childNodeNames")
        self._units = find_units(self._nodes, folders.path(folders.datastore), deliveries)
        if portion.without_data:
            self._units = {
                name: found if found.units else NodeUnits(found.levels, (dict.fromkeys(found.levels, "*"),))
                for name, found in self._units.items()
            }
        self.parameters = self._named_parameters()
        self._declared = self._declared_outputs()

    def tree(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Return the spec. `params`: values that replace the parameters' own."""
        values = {}
        for name, (_, one) in self.parameters.items():
            try:
                values[name] = parse_value(params[name], one.type) if name in params else one.value
            except ValueError as error:
                raise BadValue(f"--param {name}: {error}", hint=f"its type is {one.type}") from None
        for node in self._nodes:
            if node.name in self._units and not self._units[node.name].units:
                self._refuse_without_units(node)
        return {
            "name": self._pipeline.name,
            "params": values,
            "jobs": {word(node.name): self._job(node) for node in self._nodes},
        }

    def _refuse_without_units(self, node: Node) -> None:
        where = [f"{one.name!r} in {'/'.join(level.name for level in one.location)}" for one in node.inputs]
        raise Refused(
            f"the node {node.name} has no unit of work: no folder of {self._folders.path(self._folders.datastore)} has "
            f"files of each of its types: {', '.join(where)}",
            hint=self._missing or "see ziggy.pipeline.datastore.dir, dataFileType and datastoreRegexp",
        )

    def _named_parameters(self) -> dict[str, tuple[str, Parameter]]:
        """Return (set, parameter) by name: its own, or with its set's before it if several sets have one."""
        sets = dict.fromkeys(name for node in self._nodes for name in node.parameter_sets)
        every = [(name, one) for name in sets for one in self._configuration.parameter_sets[name].values()]
        plain = [word(one.name) for _, one in every]
        return {
            short if plain.count(short) == 1 else f"{word(name)}-{short}": (name, one)
            for short, (name, one) in zip(plain, every, strict=True)
        }

    def _job(self, node: Node) -> dict[str, Any]:
        if node.name == DATA_RECEIPT:
            return self._receipt_job(node)
        units = self._units[node.name]
        entry = {
            "needs": self._needs(node),
            "env": {
                **{key: _literal(value) for key, value in self._folders.environment.items()},
                TASK_FOLDER: self._task_folder(node),
            },
            "inputs": {"program": _literal(self._program(node)), **self._declared_inputs(node)},
            "outputs": {
                f"output-{number}": self._folder(one) for number, one in enumerate(self._declared[node.name].values())
            },
            "steps": self._steps(node),
        }
        if units.levels:
            entry["zip"] = {word(level): [_literal(unit[level]) for unit in units.units] for level in units.levels}
        return entry

    def _steps(self, node: Node) -> list[dict[str, Any]]:
        parameters = [
            {"set": word(name), "name": word(one.name), "type": one.type, "value": "${params." + key + "}"}
            for key, (name, one) in self.parameters.items()
            if name in node.parameter_sets
        ]
        marshal = {
            "inputs": [self._files(one) for one in node.inputs],
            "models": [
                {
                    "folder": self._model_folder(one.name),
                    "name": _literal(one.name),
                    "pattern": _literal(one.pattern),
                    "version_group": one.version_group,
                    "time_group": one.time_group,
                }
                for one in node.models
            ],
            "single": node.single_subtask,
        }
        store = {
            "outputs": [self._files(one) for one in node.outputs],
            "complete": "${steps.process.result.items}",
        }
        begin = {"outputs": [_literal(one.pattern) for one in node.outputs], "parameters": parameters}
        return [
            {"name": "marshal", "call": f"{_STEPS}:marshal", "args": marshal},
            {
                "name": "process",
                "each": {"call": f"{_STEPS}:begin", "args": begin},
                "run": self._command(node),
            },
            {"name": "store", "call": f"{_STEPS}:store", "args": store},
        ]

    def _command(self, node: Node) -> str:
        """Return the shell's text that runs the program in a subtask's folder."""

        def search(name: str, folders: Sequence[str]) -> str:
            paths = ":".join(_shell_path(one) for one in folders)
            return f"{name}={paths}${{{name}:+:${name}}}; export {name}"

        variables = [search("PATH", self._folders.programs)]
        if self._folders.libraries:
            variables.append(search("LD_LIBRARY_PATH", self._folders.libraries))
        program = '"$program"'
        folder = "" if self._program(node).startswith("/") else '"$PWD"/'
        variables.append(f"program={folder}${{inputs.program}}")
        if node.program.endswith(".py"):
            program = f"python3 {program}"
        return _RUN_SUBTASK.format(
            variables="\n".join(variables),
            folder=TASK_FOLDER,
            node=shlex.quote(word(node.name)),
            prefix=OWN_PREFIX,
            program=program,
        )

    def _program(self, node: Node) -> str:
        """Return the path of a node's program. Raise NotFound if it is in no folder of the binary path."""
        for folder in self._folders.programs:
            if self._folders.path(f"{folder}/{node.program}").is_file():
                return f"{folder}/{node.program}"
        raise NotFound(
            f"the program {node.program} of the node {node.name} is not in {', '.join(self._folders.programs)}",
            hint="see ziggy.pipeline.binPath",
        )

    def _receipt_job(self, node: Node) -> dict[str, Any]:
        model_types = node.models or self._configuration.model_types
        folder = self._folders.receipt
        nested = self._deliveries != ["."]
        arguments = {
            "folder": _literal(folder) + ("/${matrix." + _DELIVERY + "}" if nested else ""),
            "datastore": _literal(self._folders.datastore),
            "logs": _literal(self._folders.manifests),
            "types": [
                {"location": [_level(level) for level in one.location], "pattern": _literal(one.pattern)}
                for one in node.inputs
            ],
            "models": [{"name": _literal(one.name), "pattern": _literal(one.pattern)} for one in model_types],
        }
        entry: dict[str, Any] = {
            "needs": self._needs(node),
            "env": {TASK_FOLDER: self._task_folder(node)},
            "steps": [{"name": "receive", "call": "rekindle.dialects.ziggy.data_receipt:receive", "args": arguments}],
        }
        return entry | ({"zip": {_DELIVERY: [_literal(one) for one in self._deliveries]}} if nested else {})

    # --- folders

    def _task_folder(self, node: Node) -> str:
        return _literal(f"{self._folders.task_data}/") + "${job.workflow}-${job.id}-" + word(node.name)

    def _folder(self, one: FileType) -> str:
        """Return the folder of a type, for a unit of work."""
        parts = [
            level.name if level.pattern is None else "${matrix." + word(level.name) + "}" for level in one.location
        ]
        literal = [part if level.pattern else _literal(part) for part, level in zip(parts, one.location, strict=True)]
        return "/".join([_literal(self._folders.datastore), *literal])

    def _files(self, one: FileType) -> dict[str, Any]:
        return {
            "name": _literal(one.name),
            "folder": self._folder(one),
            "pattern": _literal(one.pattern),
            "everywhere": one.everywhere,
        }

    def _model_folder(self, name: str) -> str:
        return _literal(f"{self._folders.datastore}/{MODELS}/{name}")

    # --- edges

    def _needs(self, node: Node) -> list[str]:
        """Return the tasks that the tasks of a node need: those of the nodes before it with the same names of levels.

        If a task would need none, it needs all."""
        found = []
        own = self._units.get(node.name, NodeUnits())
        for parent in self._nodes:
            if node.name not in parent.children:
                continue
            name, units = word(parent.name), self._units.get(parent.name, NodeUnits())
            if set(units.levels) & set(own.levels) and each_needs_one(own, units):
                pairs = (
                    f"{word(level)}=" + ("${matrix." + word(level) + "}" if level in own.levels else "*")
                    for level in units.levels
                )
                name += f"[{','.join(pairs)}]"
            found.append(name)
        return found

    def _declared_outputs(self) -> dict[str, dict[_Names, FileType]]:
        """Return by location the outputs of nodes whose folders have one task as their only writer, and hold no folder
        of another type."""
        every = [(node, one) for node in self._nodes for one in node.outputs]

        def alone(node: Node, one: FileType) -> bool:
            return (
                set(one.varying) == set(node.varying)
                and not any(_overlap(one, other) for who, other in every if who is not node)
                and not any(_overlap(one, other) for other in node.inputs)
                and not any(_overlap(one, other) for other in node.outputs if _names(one) != _names(other))
            )

        return {node.name: {_names(one): one for one in node.outputs if alone(node, one)} for node in self._nodes}

    def _declared_inputs(self, node: Node) -> dict[str, str]:
        """Return the folders that a task reads, so that it is stale once a file in them has changed.

        A folder that another node writes counts only if that node declares it, and this one follows it."""
        written = [(who, one) for who in self._nodes for one in who.outputs]
        found = {
            f"input-{number}": self._folder(one)
            for number, one in enumerate(node.inputs)
            if set(one.varying) <= set(node.varying)
            and all(
                _names(other) == _names(one)
                and _names(other) in self._declared[who.name]
                and node.name in nodes_below(self._pipeline.nodes, who.children)
                for who, other in written
                if _overlap(one, other)
            )
        }
        return found | {f"model-{number}": self._model_folder(one.name) for number, one in enumerate(node.models)}


_Names = tuple[str, ...]


def _names(one: FileType) -> _Names:
    return tuple(level.name for level in one.location)


def _overlap(one: FileType, other: FileType) -> bool:
    """Return whether a folder of one type can be, or be in, a folder of the other."""
    return all(
        level == another or level.pattern is not None or another.pattern is not None
        for level, another in zip(one.location, other.location, strict=False)
    )


def _level(level: Level) -> dict[str, str | None]:
    return {
        "name": _literal(level.name),
        "pattern": None if level.pattern is None else _literal(level.pattern),
    }


def _shell_path(path: str) -> str:
    """Return a path as a word of a shell that runs in the project's folder."""
    if path.startswith("/"):
        return shlex.quote(path)
    return '"$PWD"/' + shlex.quote(path)
