"""`ziggy console config`: what pipelines and instances consist of."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.ziggy.options import instance_option, the_instance
from rekindle.dialects.ziggy.starting import find_pipeline
from rekindle.domain.definition import JobTemplate, Step
from rekindle.domain.errors import BadValue, Refused, UsageError
from rekindle.engine.looking import look


class Kind(enum.StrEnum):
    """The configuration types."""

    DATA_MODEL_REGISTRY = "data-model-registry"
    INSTANCE = "instance"
    PIPELINE = "pipeline"
    PIPELINE_NODES = "pipeline-nodes"


@click.command()
@click.option("-c", "--configType", "kind", metavar="TYPE", help="instance, pipeline or pipeline-nodes.")
@instance_option
@click.option("-p", "--pipeline", metavar="NAME", help="A pipeline, as `start` takes it.")
def config(kind: str | None, instance: str | None, pipeline: str | None) -> None:
    """Display the configuration of a pipeline, its nodes alone, or that of instances.

    \b
    Example:
      rekindle ziggy console config --configType pipeline --pipeline sample
      rekindle ziggy console config --configType instance --instance 2
    """
    if kind is None:
        raise UsageError("the config type is not specified", hint="--configType " + " | ".join(Kind))
    shown = _read_kind(kind)
    if shown is Kind.DATA_MODEL_REGISTRY:
        raise Refused("there is no registry of models", hint="declare a model as an input of the jobs that read it")
    if shown is Kind.INSTANCE:
        _show_instances(instance)
        return
    if pipeline is None:
        raise UsageError("a pipeline name is not specified", hint="--pipeline NAME")
    definition = find_pipeline(pipeline, {})
    if shown is Kind.PIPELINE_NODES:
        click.echo(f"Nodes for pipeline {pipeline}:")
        for number, template in enumerate(definition.templates, 1):
            click.echo(f"{number:6}: {template.name}")
        return
    click.echo("Pipeline Configuration(s)\n")
    _show(definition.name, definition.params, definition.templates)


def _read_kind(word: str) -> Kind:
    try:
        return Kind(word.strip().lower().replace("_", "-"))
    except ValueError:
        raise BadValue(f"the config type {word!r} is not recognized", hint="types are " + ", ".join(Kind)) from None


def _show_instances(key: str | None) -> None:
    with opened() as session:
        click.echo("Pipeline Instance Configuration(s)\n")
        for one in look.workflows(session) if key is None else [the_instance(session, key)]:
            templates = look.templates(session, one.id)
            _show(f"{one.id} {one.name}, revision {one.revision}", look.params(session, one), templates)


def _show(title: str, params: Mapping[str, Any], templates: Iterable[JobTemplate]) -> None:
    click.echo(title)
    if params:
        click.echo("  parameters")
    for name, value in params.items():
        click.echo(f"    {name} = {json.dumps(value)}")
    for template in templates:
        click.echo(f"  node {template.name}")
        for step in template.steps:
            each = " (for each item)" if step.each is not None else ""
            click.echo(f"    {step.name}{each}: {_does(step)}")


def _does(step: Step) -> str:
    if step.call is not None:
        return f"call {step.call}"
    return step.run if isinstance(step.run, str) else " ".join(step.run or ())
