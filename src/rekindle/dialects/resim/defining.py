"""A batch as a definition: a test for each experience, with its two stages, and the batch metrics over them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.dialects.resim.asked import Asked, told
from rekindle.dialects.resim.configured import (
    BUILD_KEYS,
    Build,
    Configured,
    Experience,
    find_build,
    find_suite,
)
from rekindle.domain.definition import Definition, JobNode
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.spec.assemble import Origin, assemble
from rekindle.spec.nodes import Entry, Items, Node, Table, from_python
from rekindle.spec.problems import Place

EXPERIENCE_STAGE = "experience"
METRICS_STAGE = "metrics"
BATCH_METRICS = "batch-metrics"
_SAMPLE = "x"


def choose(
    found: Configured, *, experiences: Sequence[str] = (), tags: Sequence[str] = (), suite: str | None = None
) -> list[Experience]:
    """The experiences that are meant, each once, in the order of the file: by name or id, by tag, by suite. NotFound
    names each word that means none; Refused where none are meant."""
    wanted = [*experiences, *(find_suite(found, suite).experiences if suite else ())]
    known = {one.name for one in found.experiences} | {one.id for one in found.experiences}
    tagged = {tag for one in found.experiences for tag in one.tags}
    for what, words, there in (("experience", wanted, known), ("experience tag", tags, tagged)):
        missing = [word for word in words if word not in there]
        if missing:
            raise NotFound(f"no such {what}: {', '.join(missing)}", hint=did_you_mean(missing[0], there))
    meant = {*wanted}
    chosen = [one for one in found.experiences if {one.name, one.id} & meant or {*one.tags} & {*tags}]
    if not chosen:
        raise Refused("no experience is chosen", hint="--experiences NAME,NAME, --experience-tags TAG or --test-suite")
    return chosen


def define(found: Configured, asked: Asked, name: str, project: str | None, chosen: Sequence[Experience]) -> Definition:
    """The definition. Raises SpecError with every problem in what the builds say, each with its place."""
    build = find_build(found.builds, asked.build, "--build-id")
    key = asked.metrics_build
    metrics = None if key is None else find_build(found.metrics_builds, key, "--metrics-build-id")
    shapes = list({_shape(one): None for one in chosen})
    batch = None if metrics is None else metrics.entry.get("batch")
    template = _assembled(found, asked, build, metrics, shapes)
    jobs = [JobNode(f"test[experience={one.name}]", shapes.index(_shape(one)), _binding(one, found)) for one in chosen]
    edges: list[tuple[int, int]] = []
    if batch is not None:
        edges = [(position, len(jobs)) for position in range(len(jobs))]
        jobs.append(JobNode(BATCH_METRICS, len(shapes)))
    return replace(template, name=name, project=project, jobs=jobs, edges=edges)


_Shape = tuple[tuple[str, ...], int | None]
"""What tests of one template have alike: the names of their variables, and how long they may take."""


def _shape(one: Experience) -> _Shape:
    return tuple(sorted(one.env)), one.timeout


def _binding(one: Experience, found: Configured) -> dict[str, Any]:
    places = [_located(where, found) for where in one.locations]
    return {
        "experience": one.name,
        "experience_id": one.id,
        "location": places[0] if places else "",
        "locations": json.dumps(places),
        **{f"env_{name}": value for name, value in one.env.items()},
    }


def _located(where: str, found: Configured) -> str:
    """A path that is relative is so to the file's folder; anything with a scheme stays as it is."""
    return where if "://" in where else str(found.path.parent / where)


def _assembled(
    found: Configured, asked: Asked, build: Build, metrics: Build | None, shapes: Sequence[_Shape]
) -> Definition:
    """The templates, by way of a spec in which each stands for one test."""
    entries = {
        f"test-{number}" if number > 1 else "test": _test(found, asked, build, metrics, shape)
        for number, shape in enumerate(shapes, 1)
    }
    if metrics is not None and "batch" in metrics.entry.entries:
        entries[BATCH_METRICS] = _batch_metrics(found, asked, metrics)
    place = build.entry.place
    jobs = Table(place, {name: Entry(place, entry) for name, entry in entries.items()})
    made: dict[str, Node] = {
        "name": _plain(found, "batch", place),
        "jobs": jobs,
        "params": _plain(found, told(asked), place),
    }
    top = Table(place, {key: Entry(place, node) for key, node in made.items()})
    return assemble(top, {}, Origin(str(found.path.parent)), found.problems)


def _test(found: Configured, asked: Asked, build: Build, metrics: Build | None, shape: _Shape) -> Table:
    names, timeout = shape
    place = build.entry.place
    steps: list[Node] = [_step(found, EXPERIENCE_STAGE, build.entry, "run")]
    if metrics is not None and "run" in metrics.entry.entries:
        steps.append(_step(found, METRICS_STAGE, metrics.entry, "run"))
    keys = ["experience", "experience_id", "location", "locations", *(f"env_{name}" for name in names)]
    own: dict[str, Any] = {
        "RESIM_EXPERIENCE": "${matrix.experience}",
        "RESIM_EXPERIENCE_ID": "${matrix.experience_id}",
        "RESIM_EXPERIENCE_LOCATION": "${matrix.location}",
        "RESIM_EXPERIENCE_LOCATIONS": "${matrix.locations}",
        **{name: f"${{matrix.env_{name}}}" for name in names},
    }
    made = _common(found, asked, place, own, [build] if metrics is None else [build, metrics])
    made.entries["zip"] = Entry(place, _plain(found, {key: [_SAMPLE] for key in keys}, place))
    made.entries["steps"] = Entry(place, Items(place, steps))
    for key in BUILD_KEYS:
        if key in build.entry.entries and key not in ("run", "shell", "env"):
            made.entries[key] = build.entry.entries[key]
    if timeout is not None:
        _limit(found, made, timeout)
    return made


def _batch_metrics(found: Configured, asked: Asked, metrics: Build) -> Table:
    place = metrics.entry.place
    made = _common(found, asked, place, {}, [metrics])
    made.entries["run"] = metrics.entry.entries["batch"]
    if "shell" in metrics.entry.entries:
        made.entries["shell"] = metrics.entry.entries["shell"]
    made.entries["aggregate"] = Entry(place, _plain(found, True, place))
    made.entries["when"] = Entry(place, _plain(found, "finished", place))
    return made


def _common(found: Configured, asked: Asked, place: Place, own: Mapping[str, str], builds: Sequence[Build]) -> Table:
    """Folder and variables. What an experience sets wins over what a build does."""
    env: dict[str, Entry] = {}
    for build in builds:
        given = build.entry.get("env")
        if isinstance(given, Table):
            env |= given.entries
        elif given is not None:
            found.problems.add(given.place, "`env` must be a mapping of names to values")
    ours = {
        "RESIM_CONFIG_DIR": _literal(str(found.path.parent)),
        "RESIM_PARAMETERS": _literal(json.dumps(dict(asked.parameters))),
        **own,
    }
    env |= {name: Entry(place, _plain(found, value, place)) for name, value in ours.items()}
    return Table(
        place, {"workdir": Entry(place, _plain(found, "attempt", place)), "env": Entry(place, Table(place, env))}
    )


def _step(found: Configured, name: str, entry: Table, key: str) -> Table:
    place = entry.place
    made = Table(place, {"name": Entry(place, _plain(found, name, place))})
    for source, target in ((key, "run"), ("shell", "shell")):
        if source in entry.entries:
            made.entries[target] = entry.entries[source]
    return made


def _limit(found: Configured, made: Table, seconds: int) -> None:
    """How long a test may take: the experience's own limit wins."""
    place = made.place
    given = made.get("resources")
    entries = dict(given.entries) if isinstance(given, Table) else {}
    if given is None or isinstance(given, Table):
        entries["time"] = Entry(place, _plain(found, f"{seconds}s", place))
        made.entries["resources"] = Entry(place, Table(place, entries))


def _literal(text: str) -> str:
    """A text in which nothing is ours to fill in."""
    return text.replace("${", "$${")


def _plain(found: Configured, value: object, place: Place) -> Node:
    return from_python(value, place, found.problems)
