"""Read Ziggy's definition files: several together are one configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rekindle.dialects.ziggy.datastore import FileType, Level, ModelType, match
from rekindle.dialects.ziggy.parameter_types import parse_value
from rekindle.dialects.ziggy.xml_elements import Element, XmlProblems, parse_xml, word
from rekindle.domain.errors import BadSelection, NotFound, SpecError
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.patterns import compile_pattern

ROOT = "pipelineDefinition"
DATA_RECEIPT = "data-receipt"
"""The node that every configuration has: it imports deliveries into the datastore."""

_Read = TypeVar("_Read")


class Shape(msgspec.Struct, frozen=True):
    """The attributes and children of an element. Ignored attributes are settings of Ziggy's cluster."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


_JAVA_CLASSES = ("pipelineStepExecutorClass", "inputsClass", "outputsClass")
_REFERENCE = Shape(("name",))
_SHAPES: Mapping[str, Mapping[str, Shape]] = {
    ROOT: {
        "step": Shape(("name",), ("file", "uowGenerator", *_JAVA_CLASSES), ("description", "version")),
        "pipeline": Shape(
            ("name", "rootNodeNames"),
            (),
            ("description", "version", "instancePriority"),
            children=("parameterSet", "node"),
        ),
        "parameterSet": Shape(("name",), ("partial",), ("version",), children=("parameter",)),
        "datastoreRegexp": Shape(("name", "value")),
        "datastoreNode": Shape(("name",), ("isRegexp", "nodes"), children=("datastoreNode",)),
        "dataFileType": Shape(("name", "location", "fileNameRegexp"), ("includeAllFilesInAllSubtasks",)),
        "modelType": Shape(
            ("type", "fileNameRegex"), ("versionNumberGroup", "timestampGroup"), ("semanticVersionNumber",)
        ),
        "pipelineEvent": Shape(("name",), ("pipelineName", "enableOnClusterStart", "directory")),
        "remoteEnvironment": Shape(("name",), (), ("description", "batchSystem", "costUnit")),
    },
    "pipeline": {
        "parameterSet": _REFERENCE,
        "node": Shape(
            ("name",),
            ("childNodeNames", "singleSubtask"),
            ("description", "maxWorkers", "heapSizeGigabytes"),
            children=("inputDataFileType", "outputDataFileType", "modelType", "parameterSet"),
        ),
    },
    "node": dict.fromkeys(("inputDataFileType", "outputDataFileType", "modelType", "parameterSet"), _REFERENCE),
    "parameterSet": {"parameter": Shape(("name", "value"), ("type",), ("description",))},
    "datastoreNode": {"datastoreNode": Shape(("name",), ("isRegexp", "nodes"), children=("datastoreNode",))},
}
_OLDER_WORDS = {
    "module": "Ziggy 0.11 calls it <step>",
    "moduleName": "Ziggy 0.11 calls it name",
    "moduleParameter": 'Ziggy 0.11 calls it <parameterSet name="…">',
    "pipelineParameter": 'Ziggy 0.11 calls it <parameterSet name="…">',
    "uowGenerator": "Ziggy 0.11 has it at the <step>",
    "fileNameRegexForTaskDir": "Ziggy 0.11 takes location and fileNameRegexp",
    "fileNameWithSubstitutionsForDatastore": "Ziggy 0.11 takes location and fileNameRegexp",
}


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: its name, type and value."""

    name: str
    type: str
    value: Any


class Node(msgspec.Struct, frozen=True):
    """A node of a pipeline."""

    name: str
    element: Element
    children: tuple[str, ...]
    program: str
    single_subtask: bool
    single_unit: bool
    inputs: tuple[FileType, ...]
    outputs: tuple[FileType, ...]
    models: tuple[ModelType, ...]
    parameter_sets: tuple[str, ...]

    @property
    def varying(self) -> tuple[str, ...]:
        """The levels that make the units of work: those that vary in the locations of its inputs."""
        if self.single_unit:
            return ()
        return tuple(dict.fromkeys(level for one in self.inputs for level in one.varying))


class Pipeline(msgspec.Struct, frozen=True):
    """A pipeline: its nodes by name."""

    name: str
    element: Element
    roots: tuple[str, ...]
    nodes: Mapping[str, Node]


class Configuration(msgspec.Struct, frozen=True):
    """What the files define together."""

    pipelines: Mapping[str, Pipeline]
    parameter_sets: Mapping[str, Mapping[str, Parameter]]
    model_types: Sequence[ModelType]
    unsupported: Sequence[Element]  # pipelineEvent and remoteEnvironment: read, and not used


def definition_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files of these files and folders; of a folder, the XML files that mention the root element."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.glob("*.xml") if one.is_file())
            found.update(dict.fromkeys(one for one in inside if ROOT.encode() in one.read_bytes()))
        elif path.is_file():
            found[path] = None
        else:
            raise NotFound(f"there is no file or folder {path}", hint="--definitions takes files and folders")
    return list(found)


def read_configuration(files: Sequence[Path], where: str) -> Configuration:
    """Read the files as one configuration. Raise SpecError with every problem, each with its file and line."""
    problems = XmlProblems(where)
    elements: dict[str, list[Element]] = {tag: [] for tag in _SHAPES[ROOT]}
    for file in files:
        try:
            root = parse_xml(file)
        except SpecError as error:
            problems.add_all(error.problems, str(file))
            continue
        if root.tag != ROOT:
            problems.add(root, f"is no <{ROOT}>", "definition files begin with it")
            continue
        for element in _checked_children(root, problems):
            elements[element.tag].append(element)
    return _Reader(elements, problems).read()


def _checked_children(parent: Element, problems: XmlProblems) -> Iterator[Element]:
    """Yield the children with known names and all required attributes. Report the others."""
    known = _SHAPES.get(parent.tag, {})
    for child in parent.children:
        shape = known.get(child.tag)
        if shape is None:
            hint = _OLDER_WORDS.get(child.tag) or did_you_mean(child.tag, known)
            problems.add(child, f"is not known in {parent}", hint)
        elif _has_attributes(child, shape, problems):
            if not shape.children and child.children and child.tag != "remoteEnvironment":
                problems.add(child.children[0], f"is not known in {child}")
            yield child


def _has_attributes(element: Element, shape: Shape, problems: XmlProblems) -> bool:
    complete = True
    for name in shape.required:
        if not element.get(name) and not (name == "value" and name in element.attributes):
            problems.add(element, f"has no {name}")
            complete = False
    known = (*shape.required, *shape.optional, *shape.ignored)
    for name in element.attributes:
        if name not in known and element.tag != "remoteEnvironment":
            problems.add(
                element, f"has an unknown attribute {name}", _OLDER_WORDS.get(name) or did_you_mean(name, known)
            )
    return complete


def _boolean(element: Element, name: str, problems: XmlProblems) -> bool:
    text = element.get(name).lower()
    if text not in ("", "true", "false"):
        problems.add(element, f"{name} is true or false, not {text}")
    return text == "true"


class _Reader:
    """Resolves what the elements refer to."""

    def __init__(self, elements: Mapping[str, Sequence[Element]], problems: XmlProblems) -> None:
        self._elements, self._problems = elements, problems
        self._steps = self._unique("step")
        self._regexps = self._unique("datastoreRegexp", self._pattern_of("value"))
        self._datastore_nodes = self._unique("datastoreNode")
        for node in elements["datastoreNode"]:
            self._check_below(node)
        self._parameter_sets = read_parameter_sets(elements["parameterSet"], problems)
        self._file_types = self._unique("dataFileType", self._file_type)
        self._model_types = self._unique("modelType", self._model_type, key="type")

    def read(self) -> Configuration:
        """Return the configuration. Raise SpecError with every problem."""
        pipelines = self._unique("pipeline", self._pipeline)
        unsupported = [*self._elements["pipelineEvent"], *self._elements["remoteEnvironment"]]
        for event in self._elements["pipelineEvent"]:
            if event.get("pipelineName") and event.get("pipelineName") not in pipelines:
                self._unknown(event, "pipeline", event.get("pipelineName"), pipelines)
        self._problems.raise_any()
        return Configuration(pipelines, self._parameter_sets, list(self._model_types.values()), unsupported)

    def _unique(
        self, tag: str, read: Callable[[Element], Any] = lambda element: element, key: str = "name"
    ) -> dict[str, Any]:
        """Return by name what is read from the elements of a tag. Report names that are there twice."""
        found: dict[str, Any] = {}
        for element in self._elements[tag]:
            name = element.get(key)
            if name in found:
                self._problems.add(element, "is defined twice", "each name is defined once, in one of the files")
                continue
            found[name] = read(element)
        return found

    def _unknown(self, element: Element, kind: str, name: str, known: Iterable[str]) -> None:
        self._problems.add(element, f"there is no {kind} {name!r:.60}", did_you_mean(name, list(known)))

    def _pattern_of(self, attribute: str) -> Callable[[Element], str]:
        def read(element: Element) -> str:
            text = element.get(attribute)
            try:
                compile_pattern(text)
            except BadSelection as error:
                self._problems.add(element, f"{attribute}: {error.message}", error.hint)
                return ""
            return text

        return read

    # --- the datastore

    def _file_type(self, element: Element) -> FileType:
        pattern = self._pattern_of("fileNameRegexp")(element)
        if "/" in pattern:
            hint = "put the folders into the location: each is a level of the datastore"
            self._problems.add(element, "fileNameRegexp holds a folder, which is not read here", hint)
        everywhere = _boolean(element, "includeAllFilesInAllSubtasks", self._problems)
        return FileType(element.get("name"), tuple(self._location(element)), pattern, everywhere)

    def _location(self, element: Element) -> Iterator[Level]:
        """Yield the levels of a location: each is a node of the datastore, below the one before, or one folder of a
        node that is a regexp (`camera$left`)."""
        known: Mapping[str, Element] = self._datastore_nodes
        varying: set[str] = set()
        for part in element.get("location").strip("/").split("/"):
            name, fixed, folder = part.partition("$")
            node = known.get(name)
            if node is None:
                self._unknown(element, "datastoreNode", name, known)
                return
            known = self._below(node)
            pattern = self._level_pattern(node)
            if pattern is not None and not fixed:
                if name in varying:
                    self._problems.add(element, f"the level {name} varies twice in its location")
                varying.add(name)
            elif fixed and (pattern is None or match(pattern, folder) is None):
                self._problems.add(element, f"{folder!r:.60} is no folder of the level {name}")
            yield Level(folder) if fixed else Level(name, pattern)

    def _level_pattern(self, node: Element) -> str | None:
        """Return the pattern of a node's folders, or None if it is one folder."""
        if not _boolean(node, "isRegexp", self._problems):
            return None
        name = node.get("name")
        if name not in self._regexps:
            self._unknown(node, "datastoreRegexp", name, self._regexps)
        return str(self._regexps.get(name, ""))

    def _below(self, node: Element) -> dict[str, Element]:
        """Return the nodes below a node of the datastore: nested ones, and those that `nodes` names."""
        nested = {one.get("name"): one for one in _checked_children(node, self._problems)}
        for name in node.names("nodes"):
            if name not in nested and name in self._datastore_nodes:
                nested[name] = self._datastore_nodes[name]
            elif name not in nested:
                self._unknown(node, "datastoreNode", name, self._datastore_nodes)
        return nested

    def _check_below(self, node: Element) -> None:
        self._below(node)
        for one in node.children:
            self._check_below(one)

    def _model_type(self, element: Element) -> ModelType:
        pattern = self._pattern_of("fileNameRegex")(element)
        groups = compile_pattern(pattern).compiled.groups
        numbers = []
        for name in ("versionNumberGroup", "timestampGroup"):
            text = element.get(name) or "-1"
            numbers.append(int(text) if text.isdecimal() else 0)
            if text not in ("-1", *map(str, range(1, groups + 1))):
                self._problems.add(element, f"{name} is {text}, and fileNameRegex has {groups} groups")
        return ModelType(element.get("type"), pattern, *numbers)

    # --- pipelines

    def _pipeline(self, element: Element) -> Pipeline:
        children = list(_checked_children(element, self._problems))
        shared = self._references(children, "parameterSet", self._parameter_sets)
        nodes: dict[str, Node] = {}
        for child in children:
            if child.tag != "node":
                continue
            if word(child.get("name")) in map(word, nodes):
                self._problems.add(child, "is there twice", "a node has the name of its step, and each step one node")
            else:
                nodes[child.get("name")] = self._node(child, tuple(shared))
        roots = element.names("rootNodeNames")
        self._check_paths(element, roots, nodes)
        return Pipeline(element.get("name"), element, tuple(roots), nodes)

    def _node(self, element: Element, shared: tuple[str, ...]) -> Node:
        name = element.get("name")
        if name not in self._steps and name != DATA_RECEIPT:
            self._unknown(element, "step", name, self._steps)
        step = self._steps.get(name)
        children = list(_checked_children(element, self._problems))
        sets = self._references(children, "parameterSet", self._parameter_sets)
        node = Node(
            name,
            element,
            tuple(element.names("childNodeNames")),
            (step.get("file") if step else "") or name,
            _boolean(element, "singleSubtask", self._problems),
            step is not None and self._single_unit(step),
            tuple(self._references(children, "inputDataFileType", self._file_types).values()),
            tuple(self._references(children, "outputDataFileType", self._file_types).values()),
            tuple(self._references(children, "modelType", self._model_types).values()),
            tuple(dict.fromkeys((*shared, *sets))),
        )
        if len(set(map(word, node.varying))) < len(node.varying):
            self._problems.add(element, "two of its levels differ only in blanks and signs", ", ".join(node.varying))
        inputs_are_known = len(node.inputs) == sum(child.tag == "inputDataFileType" for child in children)
        for one in node.outputs if inputs_are_known else ():
            for level in one.varying:
                if level not in node.varying:
                    self._problems.add(element, f"its output {one.name!r} varies by {level}, and no input does")
        return node

    def _single_unit(self, element: Element) -> bool:
        for name in _JAVA_CLASSES:
            if element.get(name):
                hint = "take it out; a program reads and writes the files of its folder"
                self._problems.add(element, f"{name} is a Java class, which does not run here", hint)
        generator = element.get("uowGenerator").rpartition(".")[2]
        if generator not in ("", *_UNIT_GENERATORS):
            hint = "known are " + ", ".join(_UNIT_GENERATORS)
            self._problems.add(element, f"the unit of work generator {generator} is not here", hint)
        return generator == "SingleUnitOfWorkGenerator"

    def _references(self, children: Iterable[Element], tag: str, known: Mapping[str, _Read]) -> dict[str, _Read]:
        """Return what the children of a tag name."""
        found: dict[str, _Read] = {}
        for child in children:
            if child.tag != tag:
                continue
            name = child.get("name")
            if name in known:
                found[name] = known[name]
            else:
                self._unknown(child, _KINDS[tag], name, known)
        return found

    def _check_paths(self, element: Element, roots: Sequence[str], nodes: Mapping[str, Node]) -> None:
        """Report names that are no nodes, nodes that no root leads to, and circles."""
        for name in roots:
            if name not in nodes:
                self._unknown(element, "node", name, nodes)
        for node in nodes.values():
            for name in node.children:
                if name not in nodes:
                    self._unknown(node.element, "node", name, nodes)
        reached = nodes_below(nodes, roots)
        for node in nodes.values():
            if node.name not in reached:
                self._problems.add(node.element, "no root node leads to it", "see rootNodeNames and childNodeNames")
            elif node.name in nodes_below(nodes, node.children):
                self._problems.add(node.element, "follows itself: childNodeNames make a circle")


_UNIT_GENERATORS = (
    "DatastoreDirectoryUnitOfWorkGenerator",
    "DataReceiptUnitOfWorkGenerator",
    "SingleUnitOfWorkGenerator",
)
_KINDS = {
    "parameterSet": "parameter set",
    "inputDataFileType": "data file type",
    "outputDataFileType": "data file type",
    "modelType": "model type",
}


def nodes_below(nodes: Mapping[str, Node], names: Iterable[str]) -> set[str]:
    """Return these nodes and all that follow them."""
    found: set[str] = set()
    left = [name for name in names if name in nodes]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [child for child in nodes[name].children if child in nodes]
    return found


# --- parameters


def read_parameter_sets(elements: Sequence[Element], problems: XmlProblems) -> dict[str, dict[str, Parameter]]:
    """Return the parameter sets. A partial one replaces values of the whole one of its name, in any file."""
    found: dict[str, dict[str, Parameter]] = {}
    partial = [one for one in elements if _boolean(one, "partial", problems)]
    for element in elements:
        if element in partial:
            continue
        if word(element.get("name")) in map(word, found):
            problems.add(element, "is defined twice", 'a file that changes some values says partial="true"')
            continue
        found[element.get("name")] = _read_parameters(element, problems)
    for element in partial:
        known = found.get(element.get("name"))
        if known is None:
            problems.add(element, "there is no whole set of this name", did_you_mean(element.get("name"), list(found)))
            continue
        for name, one in _read_parameters(element, problems).items():
            if name not in known:
                problems.add(element, f"the set has no parameter {name!r:.60}", did_you_mean(name, list(known)))
            elif one.type != known[name].type:
                problems.add(element, f"the parameter {name!r} is of type {known[name].type}, not {one.type}")
            else:
                known[name] = one
    return found


def _read_parameters(element: Element, problems: XmlProblems) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for child in _checked_children(element, problems):
        name, kind = child.get("name"), child.get("type").lower() or "string"
        if word(name) in map(word, found):
            problems.add(child, "is there twice in its set", "names that differ only in blanks and signs are one")
            continue
        try:
            found[name] = Parameter(name, kind, parse_value(child.attributes.get("value", ""), kind))
        except ValueError as error:
            problems.add(child, str(error))
    return found
