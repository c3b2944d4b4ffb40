"""The table of spec keys, and the JSON Schema made from it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from rekindle.domain.definition import HOOK_EVENTS
from rekindle.domain.errors import SpecError
from rekindle.domain.states import Cause
from rekindle.spec import job_entries, loading, matrix, retries, steps
from rekindle.spec.loading import SpecSource, assemble, read_tree
from rekindle.spec.nodes import Problems
from rekindle.spec.spec_keys import KEYS, PLACES, SpecKey, keys_of
from rekindle.spec.spec_schema import example_value, spec_schema
from rekindle.spec.values import data

ROOT = Path(__file__).resolve().parents[2]

READERS = {
    "spec": loading._TOP_KEYS,
    "defaults": job_entries._DEFAULTS_KEYS,
    "job": job_entries.JOB_KEYS,
    "step": steps._STEP_KEYS,
    "each": steps._EACH_KEYS,
    "matrix": (matrix.EXCLUDE, matrix.INCLUDE),
    "range": ("range",),
    "input": job_entries._FILE_KEYS["inputs"],
    "output": job_entries._FILE_KEYS["outputs"],
    "files": job_entries._COMPARISON_KEYS,
    "resources": job_entries._RESOURCE_KEYS,
    "retry": retries._KEYS,
    "quarantine": ("until", "why"),
    "manual": ("rerun", "reason"),
    "on": HOOK_EVENTS,
}
"""The keys that the readers of each place know."""


@pytest.fixture(scope="module")
def schema() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(spec_schema(), validate_formats=False)


def parsed(text: str, suffix: str = ".yaml") -> tuple[Any, bool]:
    """Return the plain data of a spec, and whether the spec is valid. None for a text that has no tree."""
    problems = Problems("spec")
    tree = read_tree(text.encode(), suffix, problems)
    if tree is None:
        return None, False
    plain = data(tree, "a spec", Problems("spec"))
    try:
        assemble(tree, {}, SpecSource("/tmp"), problems)
    except SpecError:
        return plain, False
    return plain, True


@pytest.mark.parametrize("place", PLACES)
def test_each_key_of_a_reader_is_in_the_table(place: str) -> None:
    named = {key.name for key in keys_of(place) if key.name not in ("x-…", "NAME")}
    assert named == set(READERS[place])


def test_each_list_of_keys_in_the_readers_is_compared_with_the_table() -> None:
    calls = [text for path in (ROOT / "src/rekindle/spec").glob("*.py") for text in _key_lists(path)]
    assert sorted(calls) == sorted(
        [
            *("_COMPARISON_KEYS", "_DEFAULTS_KEYS", "_EACH_KEYS", "_FILE_KEYS[kind]", "_KEYS", "_RESOURCE_KEYS"),
            *(
                "_STEP_KEYS",
                "_TOP_KEYS",
                "JOB_KEYS",
                "HOOK_EVENTS",
                "('rerun', 'reason')",
                "('until', 'why')",
                "('range',)",
            ),
        ]
    )


def _key_lists(path: Path) -> Iterator[str]:
    """Yield the second argument of each call of `check_keys`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check_keys":
            yield ast.unparse(node.args[1])


def test_each_row_is_complete() -> None:
    for key in KEYS:
        assert set(key.places) <= set(PLACES)
        assert key.about.endswith(".")
        assert key.type
        assert key.default


def test_the_schema_knows_every_cause() -> None:
    causes = next(key for key in keys_of("retry") if key.name == "on").schema["anyOf"][0]["enum"]
    assert sorted(causes) == sorted(cause.value for cause in Cause if cause is not Cause.CANCELED)


def _around(place: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with an entry at a place."""
    work = {} if {"run", "call", "steps"} & entry.keys() else {"run": "true"}
    call = {"call": "m:f"} if "args" in entry else {}
    each = {"each": "*.png"} if {"max_failed", "resubmit", "parallel"} & entry.keys() else {}
    mtime = {"by": "mtime"} if "over" in entry else {}
    file = {"path": "data", **mtime, **entry}
    axes = {"os": ["mac", "linux"], "py": [3.8, 3.13]}
    delay = {"delay": "1s"} if {"backoff", "max_delay", "jitter"} & entry.keys() else {}
    grows = {name: "1m" if name == "time" else "1G" for name in ("time", "memory") if f"max_{name}" in entry}
    jobs: dict[str, Any] = {
        "job": {**({} if call else work), **call, **each, **entry},
        "step": {"steps": [{"name": "one", **({} if call else work), **call, **each, **entry}]},
        "each": {"run": "true", "each": {**call, **entry}},
        "matrix": {"run": "true", "matrix": {**axes, **entry}},
        "range": {"run": "true", "matrix": {"n": entry}},
        "manual": {"run": "true", "manual": {"rerun": "forbidden", "reason": "it pays", **entry}},
        "quarantine": {"run": "true", "quarantine": {"until": "2030-01-31", "why": "slow", **entry}},
        "input": {"run": "true", "inputs": {"a": file}},
        "output": {"run": "true", "outputs": {"a": file}},
        "resources": {"run": "true", "resources": entry},
        "retry": {
            "run": "true",
            "resources": {"memory": "1G", "time": "1m"},
            "retry": {"max": 1, **delay, **grows, **entry},
        },
    }
    tops: dict[str, Any] = {
        "spec": entry,
        "defaults": {"defaults": entry},
        "on": {"on": entry},
        "files": {"defaults": {"files": {**mtime, **entry}}},
    }
    others = {"prepare": {"run": "true"}, "train": {"run": "true"}}
    needed = others if "needs" in entry or "jobs" not in entry else {}
    return {
        "name": "x",
        "params": {"alpha": 1},
        "jobs": {**needed, "j": jobs.get(place, {"run": "true"})},
        **tops.get(place, {}),
    }


@pytest.mark.parametrize(
    ("place", "key"), [(place, key) for key in KEYS for place in key.places], ids=lambda one: getattr(one, "name", one)
)
def test_each_example_is_valid(place: str, key: SpecKey, schema: jsonschema_rs.Draft202012Validator) -> None:
    work = {"run": "ls"} if (place, key.name) == ("each", "shell") else {}
    spec = _around(place, {**work, key.example.partition(":")[0]: example_value(key)})
    schema.validate(spec)
    assert parsed(json.dumps(spec), ".json")[1], spec


def _spec_texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the repository that may be a spec, with its place."""
    for path in (*ROOT.glob("tests/spec/samples/*"), *ROOT.glob("demo/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")):
        yield str(path), path.read_text()
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL):
            yield str(path), block
    for path in (*ROOT.glob("tests/**/*.py"), *ROOT.glob("demo/**/*.py"), *ROOT.glob("benchmarks/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "jobs" in node.value:
                yield f"{path}:{node.lineno}", inspect.cleandoc(node.value)


def test_every_valid_spec_of_the_repository_is_valid_in_the_schema(schema: jsonschema_rs.Draft202012Validator) -> None:
    seen = 0
    wrong = []
    for place, text in _spec_texts():
        suffix = ".json" if text.startswith("{") else ".toml" if place.endswith(".toml") else ".yaml"
        plain, valid = parsed(text, suffix)
        if not valid:
            continue
        seen += 1
        wrong += [f"{place}: {error.message} at {error.instance_path}" for error in schema.iter_errors(plain)]
    assert wrong == []
    assert seen > 100


GOOD = """
name: x
jobs:
  j:
    run: "true"
"""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("\nparam: {a: 1}", "param"),
        ("    need: a", "need"),
        ("    resources: {cpu: 1}", "cpu"),
        ("    resources: {memory: 512}", "512"),
        ("    resources: {time: 90}", "90"),
        ("    resources: {time: '90'}", "90"),
        ("    resources: {cpus: 0}", "0"),
        ("    retry: {max: 1, causes: lost}", "causes"),
        ("    retry: {on: lost}", "retry"),
        ("    retry: {max: 1, on: canceled}", "canceled"),
        ("    retry: {max: 1, backoff: 2}", "retry"),
        ("    when: always", "always"),
        ("    workdir: here", "here"),
        ("    env: {a-b: 1}", "a-b"),
        ("    env: {A: [1]}", "1"),
        ("    inputs: [a, b]", "a"),
        ("    inputs: {a: {path: x, by: date}}", "date"),
        ("    outputs: {a: {path: x, optional: true}}", "optional"),
        ("    matrix: {}", "matrix"),
        ("    matrix: {a: 1}", "1"),
        ("    matrix: {a: {range: [1]}}", "1"),
        ("    call: mypkg.f", "run"),
        ("    args: {a: 1}", "call"),
        ("    max_failed: 1", "each"),
        ("    steps: [{name: a, run: b}]", "run"),
        ("    labels: [a]", "a"),
        ("    aggregate: sometimes", "sometimes"),
        ("    x-note: a", "x-note"),
        ("  '12': {run: a}", "12"),
        ("  k: {}", "oneOf"),
        ("  k: {steps: [{run: a}]}", "name"),
        ("  k: {steps: []}", ""),
        ("  k: [run]", "run"),
    ],
)
def test_an_invalid_spec_is_invalid_in_the_schema(
    change: str, word: str, schema: jsonschema_rs.Draft202012Validator
) -> None:
    assert schema.is_valid(parsed(GOOD)[0])
    plain, valid = parsed(f"{GOOD}{change}\n")
    assert not valid, "the reader takes it"
    messages = [f"{error.message} {error.instance_path}" for error in schema.iter_errors(plain)]
    assert messages
    assert any(word in message for message in messages), messages


def test_free_keys_are_allowed_at_the_top(schema: jsonschema_rs.Draft202012Validator) -> None:
    assert schema.is_valid({"x-a": [1], "name": "x", "jobs": {"j": {"run": "a"}}})


def test_the_schema_itself_is_valid() -> None:
    jsonschema_rs.meta.validate(spec_schema())
