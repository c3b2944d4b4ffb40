"""`ziggy console start` and `config`: start a pipeline as an instance, and show configurations."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from rekindle.dialects.command_session import open_store
from rekindle.dialects.ziggy.options import (
    check_work,
    find_instance,
    instance_option,
    parse_assignments,
    read_type,
    warn_no_runner,
    work_now,
    work_options,
)
from rekindle.domain.definition import Definition, JobTemplate, Step, select_portion
from rekindle.domain.errors import BadValue, NotFound, Refused, SpecError, UsageError
from rekindle.domain.states import State
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.queries import workflow_queries
from rekindle.engine.submit.submit import submit

if TYPE_CHECKING:
    from rekindle.dialects.ziggy.pipeline_definition import Portion
    from rekindle.domain.models import Workflow

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_MAX_FILE_SIZE = 4 << 20
"""Bytes. Larger files are not searched for a pipeline's name."""


definitions_option = click.option(
    "--definitions",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Read an XML file, or the XML files of a folder, beside those of the definition folder. Can be repeated.",
)


@click.command()
@click.argument("pipeline", metavar="PIPELINE")
@click.argument("name", required=False, metavar="[NAME")
@click.argument("first", required=False, metavar="[START_NODE")
@click.argument("last", required=False, metavar="[STOP_NODE]]]")
@click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of this instance. Can be repeated.")
@definitions_option
@click.option(
    "--cpus",
    type=click.IntRange(min=1),
    metavar="N",
    help="Give each task that has subtasks N cpus: up to N of its subtasks run at once.",
)
@work_options
def start(
    pipeline: str,
    name: str | None,
    first: str | None,
    last: str | None,
    param: tuple[str, ...],
    definitions: tuple[Path, ...],
    cpus: int | None,
    and_work: bool,
    slots: int | None,
) -> int:
    """Start a pipeline as a new instance, and assign NAME to it.

    PIPELINE is a spec file, the name of a spec in this folder, the name of a pipeline in Ziggy's XML files, or the name
    of a pipeline that was started or submitted earlier. XML files are read from ziggy.pipeline.definition.dir, or from
    etc/ziggy.d, config or this folder. The default NAME is the current time. With START_NODE and STOP_NODE, only the
    nodes between them run; the outputs of earlier nodes must exist.

    \b
    Example:
      rekindle ziggy console start sample "Test 1"
      rekindle ziggy console start sample "Test 2" permuter flip
      rekindle ziggy console start sample.yaml --param throw_exception_subtask_0=false --work
      rekindle ziggy console start sample --definitions etc/ziggy-extra.d/pl-with-overrides.xml
    """
    check_work(and_work, slots)
    params = parse_assignments("--param", param)
    from rekindle.dialects.ziggy.pipeline_definition import Portion

    portion = Portion(first or None, last or None)
    definition = select_portion(find_pipeline(pipeline, params, definitions, portion), portion.first, portion.last)
    if cpus is not None:
        definition = replace(definition, templates=[_with_cpus(one, cpus) for one in definition.templates])
    with open_store(create=True) as session:
        click.echo(f'Launching {pipeline}: name="{name or ""}", start="{first or ""}", stop="{last or ""}"...')
        done = submit(session, definition, name=_instance_name(definition, name, session.clock()), new=True)
        click.echo(f"instance {done.workflow}: {done.jobs:,} task{'s' if done.jobs != 1 else ''}")
        if and_work:
            return work_now(session, [done.workflow], slots)
        status = workflow_queries.status(session, str(done.workflow))[0]
        warn_no_runner(status.counts.get(State.READY, 0), bool(status.runners))
        return 0


def _with_cpus(template: JobTemplate, cpus: int) -> JobTemplate:
    if all(step.each is None for step in template.steps):
        return template
    return replace(template, resources=replace(template.resources, cpus=float(cpus)))


def _instance_name(definition: Definition, name: str | None, now: float) -> str:
    """Return the workflow name: `sample: Test 1`."""
    given = name or datetime.fromtimestamp(now).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if not given.isprintable() or not given.strip():
        raise BadValue(f"{given!r:.60} cannot be an instance's name", hint="one line")
    return f"{definition.name}: {given.strip()}"


def find_pipeline(
    pipeline: str, params: Mapping[str, str], definitions: Sequence[Path], portion: Portion
) -> Definition:
    """Return the definition of a pipeline. Raise NotFound if there is none.

    `pipeline` is a path, a name of or in a file of this folder, the name of a pipeline in XML files (beside those of
    the definition folder: `definitions`), or the name of a workflow submitted from a file. Of XML files, only the nodes
    of `portion` need a unit of work.
    """
    from rekindle.dialects.ziggy.pipeline_definition import define_pipeline, read_definitions
    from rekindle.dialects.ziggy.ziggy_properties import read_folders
    from rekindle.spec import load

    path = Path(pipeline)
    for candidate in (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES)):
        if candidate.suffix in SUFFIXES and candidate.is_file():
            return load(candidate, params=params)
    for candidate in _files_with_name(pipeline):
        try:
            definition = load(candidate)
        except SpecError:
            continue
        if definition.name == pipeline:
            return load(candidate, params=params)
    folders = read_folders()
    configuration = read_definitions(folders, definitions)
    if configuration is not None and pipeline in configuration.pipelines:
        made = define_pipeline(configuration, pipeline, folders, params, portion)
        for note in made.notes:
            click.echo(note, err=True)
        return made.definition
    known = _known_workflows()
    for one in reversed(known):
        if one.source is not None and pipeline in (one.name, one.name.partition(": ")[0]):
            return load(Path(one.source), params=params)
    names = {one.name.partition(": ")[0] for one in known} | set(configuration.pipelines if configuration else ())
    hint = did_you_mean(pipeline, sorted(names)) or f"a spec file, or {pipeline}.yaml in this folder"
    raise NotFound(f"no pipeline {pipeline!r}", hint=hint)


def _files_with_name(name: str) -> Iterator[Path]:
    """Yield the spec files of this folder that contain the name."""
    for path in sorted(Path().iterdir()):
        if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size < _MAX_FILE_SIZE:
            try:
                found = name.encode() in path.read_bytes()
            except OSError:
                continue
            if found:
                yield path


def _known_workflows() -> list[Workflow]:
    """Return the workflows of the store, oldest first; an empty list if there is no store."""
    try:
        with open_store() as session:
            return workflow_queries.workflows(session, archived=True)
    except NotFound:
        return []


class ConfigType(enum.StrEnum):
    """The configuration types."""

    DATA_MODEL_REGISTRY = "data-model-registry"
    INSTANCE = "instance"
    PIPELINE = "pipeline"
    PIPELINE_NODES = "pipeline-nodes"


@click.command()
@click.option("-c", "--configType", "kind", metavar="TYPE", help="instance, pipeline or pipeline-nodes.")
@instance_option
@click.option("-p", "--pipeline", metavar="NAME", help="A pipeline, in the form that `start` takes.")
@definitions_option
def config(kind: str | None, instance: str | None, pipeline: str | None, definitions: tuple[Path, ...]) -> None:
    """Display the configuration of a pipeline, of its nodes only, or of instances.

    \b
    Example:
      rekindle ziggy console config --configType pipeline --pipeline sample
      rekindle ziggy console config --configType instance --instance 2
    """
    if kind is None:
        raise UsageError("the config type is not specified", hint="--configType " + " | ".join(ConfigType))
    shown = read_type(ConfigType, "config type", kind)
    if shown is ConfigType.DATA_MODEL_REGISTRY:
        raise Refused("there is no registry of models", hint="declare a model as an input of the jobs that read it")
    if shown is ConfigType.INSTANCE:
        _print_instances(instance)
        return
    if pipeline is None:
        raise UsageError("a pipeline name is not specified", hint="--pipeline NAME")
    from rekindle.dialects.ziggy.pipeline_definition import Portion

    definition = find_pipeline(pipeline, {}, definitions, Portion(without_data=True))
    if shown is ConfigType.PIPELINE_NODES:
        click.echo(f"Nodes for pipeline {pipeline}:")
        for number, template in enumerate(definition.templates, 1):
            click.echo(f"{number:6}: {template.name}")
        return
    click.echo("Pipeline Configuration(s)\n")
    _print_configuration(definition.name, definition.params, definition.templates)


def _print_instances(key: str | None) -> None:
    with open_store() as session:
        click.echo("Pipeline Instance Configuration(s)\n")
        for one in workflow_queries.workflows(session) if key is None else [find_instance(session, key)]:
            templates = workflow_queries.templates(session, one.id)
            _print_configuration(
                f"{one.id} {one.name}, revision {one.revision}", workflow_queries.params(session, one), templates
            )


def _print_configuration(title: str, params: Mapping[str, Any], templates: Iterable[JobTemplate]) -> None:
    click.echo(title)
    if params:
        click.echo("  parameters")
    for name, value in params.items():
        click.echo(f"    {name} = {json.dumps(value)}")
    for template in templates:
        click.echo(f"  node {template.name}")
        for step in template.steps:
            each = " (for each item)" if step.each is not None else ""
            click.echo(f"    {step.name}{each}: {_describe_step(step)}")


def _describe_step(step: Step) -> str:
    if step.call is not None:
        return f"call {step.call}"
    if isinstance(step.run, str):
        return step.run.replace("\n", "\n      ")
    return " ".join(step.run or ())
