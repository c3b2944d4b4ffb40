"""Forecast the unfinished jobs of a store: read them with their history, and the runners that are alive."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.forecasts.estimates import PastDurations, PastRetries
from rekindle.domain.forecasts.forecast import Forecast, ForecastInputs, OpenJob, expected_to_run, forecast
from rekindle.domain.forecasts.realised import PastPathJob, realised_path
from rekindle.domain.forecasts.schedule import Place
from rekindle.domain.packing import capacity_of
from rekindle.engine.machine import machine_capacity
from rekindle.engine.presence import live_and_dead_runners
from rekindle.engine.queries.selections import find_workflow_in

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot


class ForecastOptions(msgspec.Struct, frozen=True):
    """What is forecast. `workflow` None: all that are not archived. `slots`: as if one runner with this number of slots
    were started here; None: the runners that are alive, or, if there is none, what `rekindle work` would start.
    `assumed`: the seconds of a job without history."""

    workflow: str | None = None
    slots: int | None = None
    assumed: float | None = None
    seed: int = 0


class PastPath(msgspec.Struct, frozen=True):
    """What decided when a completed workflow ended."""

    workflow: Workflow
    jobs: Sequence[PastPathJob]


class StoreForecast(msgspec.Struct, frozen=True):
    """The forecast of workflows, with what it assumes.

    `names`: of the jobs of the path. `runners`: those that are alive and counted; empty: none is, or `-j` was given.
    `others`: how many unfinished jobs other workflows have, which runners may take as well. `past`: of one workflow
    that was named and has nothing unfinished that can run."""

    at: float
    workflows: Mapping[int, str]
    names: Mapping[int, str]
    found: Forecast
    places: Sequence[Place]
    runners: Sequence[int]
    others: int
    past: PastPath | None = None


def forecast_store(session: Session, options: ForecastOptions) -> StoreForecast:
    """Return the forecast of the unfinished jobs of a store, or of one workflow. NotFound if there is none of this
    name."""
    now = session.clock()
    with session.store.read() as archive:
        open_workflows = archive.forecasts.workflows()
        chosen = find_workflow_in(archive, options.workflow) if options.workflow is not None else None
        every = {number: name for number, (name, _) in open_workflows.items()}
        workflows = every if chosen is None else {chosen.id: chosen.name}
        jobs = archive.forecasts.jobs(workflows)
        needs = archive.forecasts.needs(workflows, {job.id for job in jobs})
        alive = [] if options.slots is not None else live_and_dead_runners(archive, now)[0]
        places = [
            Place(one.slots, capacity_of(one.offer), one.offer.workflow, one.id)
            for one in alive
            if one.offer is not None and (chosen is None or one.offer.workflow in (None, chosen.id))
        ]
        runners = [place.runner for place in places if place.runner is not None]
        given = ForecastInputs(
            jobs=jobs,
            needs=needs,
            resources=archive.jobs.resources({job.resource_class for job in jobs}),
            past=_past(archive, jobs),
            places=places or [_place_here(options.slots)],
            now=now,
            assumed=options.assumed,
            draws=lambda number: random.Random(f"{options.seed}/{number}").random,
        )
        others = sum(count for number, (_, count) in open_workflows.items() if number not in workflows)
        path = None
        if chosen is not None and not expected_to_run(given)[0]:
            ran = archive.statistics.attempts_in_time(chosen.id)
            attempts = sorted(
                [*ran, *archive.statistics.completed_otherwise(chosen.id)], key=lambda one: (one.started, one.id)
            )
            path = PastPath(chosen, realised_path(attempts, lambda job: archive.jobs.parents([job]).get(job, ())))
    found = forecast(given)
    with session.store.read() as archive:
        names = archive.forecasts.names([one.id for one in found.path])
    return StoreForecast(now, workflows, names, found, given.places, runners, others, path)


def _place_here(slots: int | None) -> Place:
    """Return what a runner would be that is started here with this number of slots, or without options."""
    room = machine_capacity()
    number = slots or int(room.cpus)
    return Place(number, msgspec.structs.replace(room, cpus=max(float(number), room.cpus)))


def _past(archive: Snapshot, jobs: Sequence[OpenJob]) -> PastDurations:
    """Return how long attempts of these jobs, and of those with their templates, took, and how often they were
    retried."""
    templates = {job.template for job in jobs}
    own, alike = archive.statistics.past_seconds([job.id for job in jobs], templates)
    retried = archive.forecasts.retried(templates)
    resumed = {job.id: job for job in jobs if job.resume_step}
    bodies = archive.staleness.templates({*retried, *(job.template for job in resumed.values())})
    retries = {
        template: PastRetries(
            seconds,
            len(alike.get(template, ())),
            max(rule.max for rule in bodies[template].retry),
            bodies[template].retry[0].delay,
        )
        for template, seconds in retried.items()
        if bodies[template].retry
    }
    rest: dict[int, float] = {}
    if resumed:
        steps, others = archive.statistics.step_durations({job: one.template for job, one in resumed.items()})
        for job, one in resumed.items():
            names = [step.name for step in bodies[one.template].steps[one.resume_step :]]
            known = {**others.get(job, {}), **steps.get(job, {})}
            if all(name in known for name in names):
                rest[job] = sum(known[name] for name in names)
    return PastDurations(own, alike, rest, retries)
