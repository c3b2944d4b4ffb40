"""Property: the edges of a random spec equal those of a simple implementation."""

from __future__ import annotations

import fnmatch
import posixpath
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from rekindle.domain.definition import Definition
from rekindle.domain.errors import SpecError
from rekindle.domain.graph import find_cycle
from rekindle.domain.texts.substitution import render_text
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems, SourcePlace, from_python

ENTRIES = ["a", "ab", "b", "c", "d", "e"]
PATHS = ["x", "./x", "y/../x", "y", "z-${matrix.i}", "z-1", "${job.name}", "a[i=1]", "/tmp/t"]


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw entries that mostly need earlier ones, so that many graphs have no cycle."""
    jobs: dict[str, Any] = {}
    written = draw(st.permutations(PATHS))
    for position, name in enumerate(ENTRIES[: draw(st.integers(1, len(ENTRIES)))]):
        before = ENTRIES[:position] or ["a"]
        job: dict[str, Any] = {"run": "x", "workdir": draw(st.sampled_from(["project", "project", "attempt"]))}
        if draw(st.booleans()):
            job["matrix"] = {"i": draw(st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True))}
        names = [*before, *before, "a*", "?", "*", f"{before[-1]}[i=1]", f"{before[-1]}[i=*]", "${job.name}"]
        if "matrix" in job:
            names += [f"{before[-1]}[i=${{matrix.i}}]"] * 3
        if position:
            job["needs"] = draw(st.lists(st.sampled_from(names), max_size=2))
        job["outputs"] = {"o": written[position]} if draw(st.booleans()) else {}
        job["inputs"] = {"i": draw(st.sampled_from(written[:position]))} if position and draw(st.booleans()) else {}
        jobs[name] = job
    return {"name": "w", "jobs": jobs}


def simple_edges(found: Definition, spec: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the edges by comparing every pair of jobs."""
    edges = set()
    for child in found.jobs:
        body = found.templates[child.template]
        scope = {"matrix": child.binding, "job": {"name": child.name}}
        needs = [render_text(need, scope) for need in spec["jobs"][body.name].get("needs", [])]
        known = {job.name for job in found.jobs} | {template.name for template in found.templates}
        reads = {_path(path, scope) for path in body.inputs.values()}
        for parent in found.jobs:
            above = found.templates[parent.template]
            names = (parent.name, above.name)
            globs = [need.replace("[", "[[]") for need in needs if need not in known]
            if any(need in names for need in needs) or (
                above is not body and any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)
            ):
                edges.add((parent.name, child.name))
            there = {"matrix": parent.binding, "job": {"name": parent.name}}
            writes = {_path(path, there) for path in above.outputs.values()}
            shared = {path for path in reads & writes if above.workdir == "project" or path == "/tmp/t"}
            if shared and parent.name != child.name:
                edges.add((parent.name, child.name))
    return edges


def _path(path: str, scope: dict[str, Any]) -> str:
    return posixpath.normpath(posixpath.join("/project", render_text(path, scope)))


@given(specs())
@settings(deadline=None, max_examples=400)
def test_edges_equal_those_of_a_simple_implementation(spec: dict[str, Any]) -> None:
    problems = Problems("s")
    try:
        found = assemble(from_python(spec, SourcePlace(), problems), {}, SpecSource("/project"), problems)
    except SpecError:
        event("refused")
        return
    event("a definition")
    named = [(found.jobs[parent].name, found.jobs[child].name) for parent, child in found.edges]
    assert set(named) == simple_edges(found, spec)
    assert len(set(named)) == len(named)
    assert find_cycle(len(found.jobs), found.edges) is None
