"""Drawings of plans for the page "How a rerun is planned": a small workflow is run, and the planner plans reruns.

The drawings are SVG in the colours of the page, so that they follow its light or dark scheme.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rekindle import How
from rekindle.domain.graph_layout import Box, Layout, lay_out
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.engine.submit.submit import submit
from rekindle.presentation.plans import reason_text
from rekindle.spec.loading import load

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import PlannedJob, RerunPlan

SPEC = """\
name: survey
jobs:
  prepare:
    steps:
      - {name: fetch, run: "printf raw > raw.txt"}
      - {name: clean, run: "printf clean > data.txt"}
    outputs: {data: data.txt}
  oslo: {needs: [prepare], run: "printf 5 > oslo.txt", outputs: {mean: oslo.txt}}
  rome:
    needs: [prepare]
    steps:
      - {name: fit, run: "printf fit > rome.fit"}
      - {name: mean, run: "exit 3"}
    outputs: {mean: rome.txt}
  map: {needs: [oslo], run: "printf map > map.txt", outputs: {map: map.txt}}
  report: {needs: [oslo, rome], run: "cat oslo.txt rome.txt > report.txt", outputs: {text: report.txt}}
"""
"""The workflow of the drawings. `rome` fails in its second step."""

_WIDTH, _HEIGHT = 176, 62
_CUT = 28
"""The part of the layout's margin that is left out."""


class Picture(NamedTuple):
    """A workflow with what is written and how each of its jobs looks."""

    texts: Mapping[str, tuple[str, str]]
    looks: Mapping[str, str]
    title: str


def before() -> str:
    """Draw the workflow after its first run."""
    looks = {"completed": "done", "failed": "failed"}
    states = _studied().states
    texts = {name: (state, "") for name, state in states.items()}
    return _draw(Picture(texts, {name: looks.get(one, "kept") for name, one in states.items()}, "after the first run"))


def failed() -> str:
    """Draw the plan of `rerun -s failed`."""
    return _plan("failed")


def failed_step() -> str:
    """Draw the plan of `rerun rome --from failed-step`."""
    return _plan("failed-step")


def everything_below() -> str:
    """Draw the plan of `rerun prepare`."""
    return _plan("all")


def changed_only() -> str:
    """Draw the plan of `rerun prepare --downstream changed`."""
    return _plan("changed")


def none_below() -> str:
    """Draw the plan of `rerun oslo --downstream none`."""
    return _plan("none")


class _Study(NamedTuple):
    states: Mapping[str, str]
    plans: Mapping[str, RerunPlan]


@functools.cache
def _studied() -> _Study:
    """Run the workflow in a temporary folder, and plan each rerun. Nothing is applied."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "survey.yaml")
        spec.write_text(SPEC)
        with closing(open_session(str(Path(folder, ".rekindle")))) as session:
            number = submit(session, load(spec)).jobs
            work(session, WorkOptions(slots=1))
            jobs = [row.job for row in job_queries.jobs(session, range(1, number + 1))]
            ids = {job.name: job.id for job in jobs}
            failed = [job.id for job in jobs if job.state is State.FAILED]
            requests = {
                "failed": (failed, How()),
                "failed-step": ([ids["rome"]], How(start="failed-step")),
                "all": ([ids["prepare"]], How()),
                "changed": ([ids["prepare"]], How(downstream="changed")),
                "none": ([ids["oslo"]], How(downstream="none")),
            }
            plans = {name: rerun.plan(session, [request], {}).plan for name, request in requests.items()}
        states = {job.name: job.state.label for job in jobs}
    return _Study(states, plans)


def _plan(name: str) -> str:
    study = _studied()
    planned = {job.name: job for job in study.plans[name].jobs}
    texts, looks = {}, {}
    for job, state in study.states.items():
        one = planned.get(job)
        texts[job] = (state, "") if one is None else (_states(one), _why(one))
        looks[job] = "kept" if one is None or one.stays else "checked" if one.next.reuse_candidate else "again"
    return _draw(Picture(texts, looks, f"plan of a rerun: {name}"))


def _states(job: PlannedJob) -> str:
    if job.before == job.after:
        return job.before.label
    return f"{job.before.label} → {job.after.label}"


def _why(job: PlannedJob) -> str:
    if job.start != "beginning":
        return f"from step {job.start}"
    if job.next.reuse_candidate:
        return "only if a result changes"
    return reason_text(job.reasons[0]) if job.reasons else ""


def _draw(picture: Picture) -> str:
    edges = [("prepare", "oslo"), ("prepare", "rome"), ("oslo", "map"), ("oslo", "report"), ("rome", "report")]
    layout = lay_out([Box(name, _WIDTH, _HEIGHT) for name in picture.texts], edges)
    parts = [*_lines(layout), *_boxes(layout, picture)]
    width, height = layout.width - 2 * _CUT, layout.height - 2 * _CUT
    size = f'viewBox="{_CUT} {_CUT} {width:.0f} {height:.0f}" width="{width:.0f}"'
    return (
        f'<div class="drawing"><svg {size} role="img" aria-label="{escape(picture.title)}">{"".join(parts)}</svg></div>'
    )


def _lines(layout: Layout) -> Iterator[str]:
    for route in layout.routes:
        path = f"M{route.points[0][0]:.0f} {route.points[0][1]:.0f}"
        for (x, y), (to_x, to_y) in pairwise(route.points):
            middle = (x + to_x) / 2
            path += f"C{middle:.0f} {y:.0f} {middle:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"
        yield f'<path class="edge" d="{path}"/>'


def _boxes(layout: Layout, picture: Picture) -> Iterator[str]:
    for name, (state, why) in picture.texts.items():
        x, y = layout.positions[name]
        rows = [("name", name, 20), ("", state, 37), ("why", why, 53)] if why else [("name", name, 28), ("", state, 46)]
        size = f'width="{_WIDTH}" height="{_HEIGHT}" rx="6"'
        yield f'<g class="{picture.looks[name]}"><rect x="{x:.0f}" y="{y:.0f}" {size}/>'
        for kind, text, down in rows:
            yield f'<text class="{kind}" x="{x + 12:.0f}" y="{y + down:.0f}">{escape(text)}</text>'
        yield "</g>"
