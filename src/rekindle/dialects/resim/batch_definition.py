"""Define a batch: one test with two stages for each experience, and batch metrics over all tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from rekindle.dialects.resim.batches import BatchRequest, request_to_params
from rekindle.dialects.resim.experiences import (
    BUILD_KEYS,
    Build,
    Experience,
    ExperienceFile,
    find_build,
    find_suite,
)
from rekindle.domain.definition import Definition, JobNode
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.texts.display import did_you_mean
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import ListNode, MappingEntry, MappingNode, Node, SourcePlace, from_python

EXPERIENCE_STAGE = "experience"
METRICS_STAGE = "metrics"
BATCH_METRICS = "batch-metrics"
_SAMPLE = "x"


def select_experiences(
    file: ExperienceFile, *, experiences: Sequence[str] = (), tags: Sequence[str] = (), suite: str | None = None
) -> list[Experience]:
    """Return the experiences selected by name or id, tag, or suite, each once and in file order.

    Raise NotFound, naming unknown names and tags, and Refused if no experience is selected.
    """
    wanted = [*experiences, *(find_suite(file, suite).experiences if suite else ())]
    known = {one.name for one in file.experiences} | {one.id for one in file.experiences}
    tagged = {tag for one in file.experiences for tag in one.tags}
    for what, words, there in (("experience", wanted, known), ("experience tag", tags, tagged)):
        missing = [word for word in words if word not in there]
        if missing:
            raise NotFound(f"no such {what}: {', '.join(missing)}", hint=did_you_mean(missing[0], there))
    wanted_keys = {*wanted}
    selected = [one for one in file.experiences if {one.name, one.id} & wanted_keys or {*one.tags} & {*tags}]
    if not selected:
        raise Refused(
            "no experience is selected", hint="--experiences NAME,NAME, --experience-tags TAG or --test-suite"
        )
    return selected


def define_batch(
    file: ExperienceFile, request: BatchRequest, name: str, project: str | None, selected: Sequence[Experience]
) -> Definition:
    """Return the batch's definition. Raise SpecError with every problem of the builds, each with its place."""
    build = find_build(file.builds, request.build, "--build-id")
    key = request.metrics_build
    metrics = None if key is None else find_build(file.metrics_builds, key, "--metrics-build-id")
    template_keys = list({_template_key(one): None for one in selected})
    batch = None if metrics is None else metrics.entry.get("batch")
    template = _template_definition(file, request, build, metrics, template_keys)
    jobs = [
        JobNode(f"test[experience={one.name}]", template_keys.index(_template_key(one)), _binding(one, file))
        for one in selected
    ]
    edges: list[tuple[int, int]] = []
    if batch is not None:
        edges = [(position, len(jobs)) for position in range(len(jobs))]
        jobs.append(JobNode(BATCH_METRICS, len(template_keys)))
    return replace(template, name=name, project=project, jobs=jobs, edges=edges)


_TemplateKey = tuple[tuple[str, ...], int | None]
"""Tests with equal keys share a template: (variable names, time limit in seconds)."""


def _template_key(one: Experience) -> _TemplateKey:
    return tuple(sorted(one.env)), one.timeout


def _binding(one: Experience, file: ExperienceFile) -> dict[str, Any]:
    places = [_resolve_location(where, file) for where in one.locations]
    return {
        "experience": one.name,
        "experience_id": one.id,
        "location": places[0] if places else "",
        "locations": json.dumps(places),
        **{f"env_{name}": value for name, value in one.env.items()},
    }


def _resolve_location(where: str, file: ExperienceFile) -> str:
    """Return a location relative to the file's folder. A location with a scheme is returned unchanged."""
    return where if "://" in where else str(file.path.parent / where)


def _template_definition(
    file: ExperienceFile,
    request: BatchRequest,
    build: Build,
    metrics: Build | None,
    template_keys: Sequence[_TemplateKey],
) -> Definition:
    """Assemble a spec in which each template stands for one test, and return its definition."""
    entries = {
        f"test-{number}" if number > 1 else "test": _test(file, request, build, metrics, template_key)
        for number, template_key in enumerate(template_keys, 1)
    }
    if metrics is not None and "batch" in metrics.entry.entries:
        entries[BATCH_METRICS] = _batch_metrics(file, request, metrics)
    place = build.entry.place
    jobs = MappingNode(place, {name: MappingEntry(place, entry) for name, entry in entries.items()})
    made: dict[str, Node] = {
        "name": _node(file, "batch", place),
        "jobs": jobs,
        "params": _node(file, request_to_params(request), place),
    }
    top = MappingNode(place, {key: MappingEntry(place, node) for key, node in made.items()})
    return assemble(top, {}, SpecSource(str(file.path.parent)), file.problems)


def _test(
    file: ExperienceFile, request: BatchRequest, build: Build, metrics: Build | None, template_key: _TemplateKey
) -> MappingNode:
    names, timeout = template_key
    place = build.entry.place
    steps: list[Node] = [_step(file, EXPERIENCE_STAGE, build.entry, "run")]
    if metrics is not None and "run" in metrics.entry.entries:
        steps.append(_step(file, METRICS_STAGE, metrics.entry, "run"))
    keys = ["experience", "experience_id", "location", "locations", *(f"env_{name}" for name in names)]
    variables: dict[str, Any] = {
        "RESIM_EXPERIENCE": "${matrix.experience}",
        "RESIM_EXPERIENCE_ID": "${matrix.experience_id}",
        "RESIM_EXPERIENCE_LOCATION": "${matrix.location}",
        "RESIM_EXPERIENCE_LOCATIONS": "${matrix.locations}",
        **{name: f"${{matrix.env_{name}}}" for name in names},
    }
    made = _base_entry(file, request, place, variables, [build] if metrics is None else [build, metrics])
    made.entries["zip"] = MappingEntry(place, _node(file, {key: [_SAMPLE] for key in keys}, place))
    made.entries["steps"] = MappingEntry(place, ListNode(place, steps))
    for key in BUILD_KEYS:
        if key in build.entry.entries and key not in ("run", "shell", "env"):
            made.entries[key] = build.entry.entries[key]
    if timeout is not None:
        _set_time_limit(file, made, timeout)
    return made


def _batch_metrics(file: ExperienceFile, request: BatchRequest, metrics: Build) -> MappingNode:
    place = metrics.entry.place
    made = _base_entry(file, request, place, {}, [metrics])
    made.entries["run"] = metrics.entry.entries["batch"]
    if "shell" in metrics.entry.entries:
        made.entries["shell"] = metrics.entry.entries["shell"]
    made.entries["aggregate"] = MappingEntry(place, _node(file, True, place))
    made.entries["when"] = MappingEntry(place, _node(file, "finished", place))
    return made


def _base_entry(
    file: ExperienceFile,
    request: BatchRequest,
    place: SourcePlace,
    variables: Mapping[str, str],
    builds: Sequence[Build],
) -> MappingNode:
    """Return an entry with working directory and variables. Variables of an experience override those of a build."""
    env: dict[str, MappingEntry] = {}
    for build in builds:
        given = build.entry.get("env")
        if isinstance(given, MappingNode):
            env |= given.entries
        elif given is not None:
            file.problems.add(given.place, "`env` must be a mapping of names to values")
    fixed_variables = {
        "RESIM_CONFIG_DIR": _escape_references(str(file.path.parent)),
        "RESIM_PARAMETERS": _escape_references(json.dumps(dict(request.parameters))),
        **variables,
    }
    env |= {name: MappingEntry(place, _node(file, value, place)) for name, value in fixed_variables.items()}
    return MappingNode(
        place,
        {
            "workdir": MappingEntry(place, _node(file, "attempt", place)),
            "env": MappingEntry(place, MappingNode(place, env)),
        },
    )


def _step(file: ExperienceFile, name: str, entry: MappingNode, key: str) -> MappingNode:
    place = entry.place
    made = MappingNode(place, {"name": MappingEntry(place, _node(file, name, place))})
    for source, target in ((key, "run"), ("shell", "shell")):
        if source in entry.entries:
            made.entries[target] = entry.entries[source]
    return made


def _set_time_limit(file: ExperienceFile, made: MappingNode, seconds: int) -> None:
    """Set the time limit of a test. The experience's limit overrides the build's."""
    place = made.place
    given = made.get("resources")
    entries = dict(given.entries) if isinstance(given, MappingNode) else {}
    if given is None or isinstance(given, MappingNode):
        entries["time"] = MappingEntry(place, _node(file, f"{seconds}s", place))
        made.entries["resources"] = MappingEntry(place, MappingNode(place, entries))


def _escape_references(text: str) -> str:
    """Escape `${` so that the text is not substituted."""
    return text.replace("${", "$${")


def _node(file: ExperienceFile, value: object, place: SourcePlace) -> Node:
    return from_python(value, place, file.problems)
