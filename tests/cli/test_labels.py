"""Labels: jobs are selected by them, and nothing else depends on them."""

from __future__ import annotations

import json

import pytest

SPEC = """
name: lab
defaults: {labels: {team: optics}}
jobs:
  a: {run: "true", labels: {stage: raw, size: 3}}
  b: {run: "true", labels: {team: acoustics}}
  c: {matrix: {k: [1, 2]}, run: "true"}
"""


def names(shell, *words: str) -> list[str]:
    return [job["name"] for job in json.loads(shell("jobs", "list", "--json", *words).out)["jobs"]]


@pytest.fixture
def lab(shell):
    shell.write(SPEC)
    shell("run", "spec.yaml")
    return shell


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-f", "labels.team=optics"], ["a", "c[k=1]", "c[k=2]"]),
        (["-f", "labels.team!=optics"], ["b"]),
        (["-f", "labels.size=3"], ["a"]),
        (["-f", "labels.stage~^r"], ["a"]),
        (["-f", "labels.none=1"], []),
        (["-q", '{"labels.team": {"$in": ["acoustics"]}}'], ["b"]),
        (["-q", '{"labels.stage": {"$exists": false}}'], ["b", "c[k=1]", "c[k=2]"]),
    ],
    ids=lambda given: " ".join(given),
)
def test_jobs_are_selected_by_labels(lab, words, found):
    assert names(lab, *words) == found


def test_a_job_shows_its_labels_and_those_of_the_defaults(lab):
    assert lab("jobs", "show", "a", "--json").json["labels"] == {"team": "optics", "stage": "raw", "size": "3"}
    assert "labels    size=3, stage=raw, team=optics" in lab("jobs", "show", "a").out


def test_changed_labels_make_no_job_stale_and_are_found_at_once(lab):
    lab.write(SPEC.replace("raw", "cooked"))
    done = lab("run", "spec.yaml")
    assert done.code == 0
    assert names(lab, "-f", "labels.stage=cooked") == ["a"]
    assert names(lab, "--changed") == []
    assert {job["attempts"] for job in json.loads(lab("jobs", "list", "--json").out)["jobs"]} == {1}


@pytest.mark.parametrize("labels", ["[a]", "{t: [1]}", "{t: null}", '{"a b": c}', '{t: "x\\n"}'])
def test_labels_that_are_no_texts_are_refused(shell, labels):
    shell.write(f'name: x\njobs: {{a: {{run: "true", labels: {labels}}}}}\n')
    done = shell("submit", "spec.yaml")
    assert done.code == 1
    assert "spec.yaml:2" in done.err
