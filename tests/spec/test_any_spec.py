"""Property: any input gives a Definition or a SpecError with problems, never another error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rekindle.domain.definition import Definition
from rekindle.domain.errors import SpecError
from rekindle.spec import load
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems, SourcePlace, from_python
from rekindle.spec.values import data
from rekindle.spec.yaml_reader import read_yaml, resolve_plain

KEYS = [
    *("name", "project", "params", "defaults", "workdir", "env", "jobs", "run", "call", "args", "steps", "shell"),
    *("inputs", "outputs", "matrix", "zip", "needs", "priority", "resources", "cpus", "memory", "gpus", "time"),
    *(
        "licences",
        "range",
        "retry",
        "grace",
        "each",
        "when",
        "aggregate",
        "path",
        "by",
        "over",
        "files",
        "<<",
        "a",
        "b",
        "x y",
        "",
        "${params.a}",
        "1",
    ),
]
TEXTS = st.one_of(
    st.sampled_from(
        [
            *("${params.a}", "${matrix.a}", "${steps.a.result}", "${item}", "${", "$${x.y}", "${a.b}", "x*", "a[b=1]"),
            *("m:f", "10m", "8G", "project", "attempt", "9" * 5000, "1e999", "\0", "a\nb", "'", "a | b", "\ud83d"),
        ]
    ),
    st.sampled_from(KEYS),
    st.text(max_size=8),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-3, 9), st.floats(), TEXTS)


def tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(KEYS), values, max_size=5)


TREES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), tables(inner)), max_leaves=25)
STEP = st.fixed_dictionaries({}, optional={"name": TEXTS, "run": TREES, "call": TREES, "args": TREES, "each": TREES})
RESOURCES = st.one_of(TREES, tables(SCALARS))
JOB = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("run", "call", "args", "shell", "needs", "priority", "workdir", "env", "retry", "grace"), TREES
        ),
        **{key: st.one_of(TREES, tables(st.one_of(TEXTS, SCALARS))) for key in ("inputs", "outputs")},
        **{key: st.one_of(TREES, tables(st.lists(SCALARS, max_size=4))) for key in ("matrix", "zip")},
        "steps": st.one_of(TREES, st.lists(STEP, max_size=3)),
        "resources": RESOURCES,
    },
)
SPECS = st.fixed_dictionaries(
    {"jobs": st.one_of(TREES, st.dictionaries(st.sampled_from(["a", "b", "c", "1", "x y"]), st.one_of(JOB, TREES)))},
    optional={
        "name": TEXTS,
        "params": st.one_of(TREES, tables(TREES)),
        "env": TREES,
        "workdir": TREES,
        "defaults": st.fixed_dictionaries({}, optional={"resources": RESOURCES, "env": TREES, "shell": TREES}),
    },
)


def outcome(content: bytes, suffix: str) -> Definition | SpecError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"s{suffix}"
        path.write_bytes(content)
        try:
            return load(path)
        except SpecError as error:
            return error


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode(errors="ignore"))))
@settings(deadline=None)
def test_any_bytes_give_a_definition_or_problems(content: bytes) -> None:
    for suffix in (".yaml", ".json", ".toml"):
        outcome(content, suffix)


@given(st.text(alphabet="ab:-? \n\t[]{},&*!|>'\"#%@`<0.", max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_yaml_punctuation_gives_a_definition_or_problems(text: str) -> None:
    outcome(text.encode(), ".yaml")


@given(SPECS)
@settings(deadline=None, max_examples=400)
def test_any_tree_is_a_definition_or_a_spec_error(tree: Any) -> None:
    problems = Problems("s")
    try:
        found = assemble(from_python(tree, SourcePlace(), problems), {}, SpecSource("/project"), problems)
    except SpecError:
        assert problems
    else:
        assert not problems
        assert found.jobs
        assert len(set(found.edges)) == len(found.edges)
        json.dumps([dict(job.binding) for job in found.jobs], allow_nan=False).encode()


@given(SPECS)
@settings(deadline=None, max_examples=100)
def test_yaml_and_json_of_one_tree_give_the_same_result(tree: Any) -> None:
    def facts(found: Definition | SpecError) -> object:
        if isinstance(found, SpecError):
            return sorted(problem.message for problem in found.problems)
        return (found.name, found.params, found.templates, found.jobs, found.edges)

    text = json.dumps(tree, ensure_ascii=True).replace("\\u0000", "").replace("\\ud83d", "")
    if '"<<"' in text or "Infinity" in text or "NaN" in text or "\\u" in text:
        return  # which the two read differently by their nature
    assert facts(outcome(text.encode(), ".yaml")) == facts(outcome(text.encode(), ".json"))


@given(st.one_of(st.integers(-(10**12), 10**12), st.floats(allow_nan=False), st.booleans(), st.none()))
def test_json_scalars_are_read_alike_as_plain_yaml(value: Any) -> None:
    text = json.dumps(value).replace("Infinity", ".inf")
    assert resolve_plain(text) == value
    assert type(resolve_plain(text)) is type(value)


@given(st.recursive(st.one_of(st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1)), st.lists, max_leaves=8))
def test_quoted_yaml_scalars_are_read_back(value: Any) -> None:
    problems = Problems("s")
    text = yaml.dump(value, Dumper=yaml.SafeDumper, default_style='"')  # a number is then `!!int "1"`
    root = read_yaml(text, problems)
    assert root is not None
    assert data(root, "it", problems) == value
    assert not problems
