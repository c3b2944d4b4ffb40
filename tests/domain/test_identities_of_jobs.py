"""Which jobs share an identity, and so the attempts that may complete them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rekindle.domain.changes.identities import TemplateIdentity
from rekindle.domain.definition import JobTemplate, Step

OUTPUTS = {"o": "o"}
STEP = Step("run", run="a ${params.p} ${matrix.m} > o")


def shared(template: JobTemplate, params: dict[str, Any] | None = None, m: str = "1", overrides: object = None) -> bool:
    """Return whether two jobs of a template have the same identity."""
    text = None if overrides is None else json.dumps(overrides)
    identity = TemplateIdentity(template, params or {"p": 1})
    first, second = (identity.of(job, json.dumps({"m": m}), text) for job in (1, 2))
    assert first == identity.of(1, json.dumps({"m": m}), text) is not None
    return first == second


def test_jobs_with_outputs_or_that_are_pure_share_attempts() -> None:
    assert shared(JobTemplate("a", steps=(STEP,), outputs=OUTPUTS))
    assert shared(JobTemplate("a", steps=(STEP,), pure=True))
    assert not shared(JobTemplate("a", steps=(STEP,), inputs={"i": "i"}))


@pytest.mark.parametrize(
    "text",
    [
        "${job.name}",
        "$REKINDLE_JOB",
        "${REKINDLE_JOB}",
        "$REKINDLE_JOB_NAME",
        "${REKINDLE_JOB_NAME:-x}",
        "$REKINDLE_WORKFLOW",
        "$REKINDLE_ATTEMPT",
        "$(printenv REKINDLE_ATTEMPT)",
        "python3 -c 'import os; print(os.environ[\"REKINDLE_JOB_NAME\"])'",
    ],
)
def test_jobs_that_use_a_value_of_their_own_share_none(text: str) -> None:
    template = JobTemplate("a", steps=(STEP,), outputs=OUTPUTS)
    places = [
        JobTemplate("a", steps=(Step("run", run=f"echo {text} > o"),), outputs=OUTPUTS),
        JobTemplate("a", steps=(Step("run", run=("sh", "-c", text)),), outputs=OUTPUTS),
        JobTemplate("a", steps=(Step("run", call="m:f", args={"x": [text]}),), outputs=OUTPUTS),
        JobTemplate("a", steps=(STEP,), outputs=OUTPUTS, env={"X": text}),
        JobTemplate("a", steps=(STEP,), outputs={"o": text}),
        JobTemplate("a", steps=(STEP,), inputs={"i": text}, outputs=OUTPUTS),
    ]
    assert [shared(one) for one in places] == [False] * len(places)
    assert not shared(template, {"p": text})
    assert not shared(template, m=text)
    assert not shared(template, overrides={"env": {"X": text}})
    assert not shared(template, overrides={"params": {"p": text}})


@pytest.mark.parametrize("text", ["$REKINDLE_DIR", "$REKINDLE_STEP", "$REKINDLE_INPUTS", "$REKINDLE_RESULT", "$JOB"])
def test_other_variables_do_not_separate_jobs(text: str) -> None:
    assert shared(JobTemplate("a", steps=(Step("run", run=f"echo {text} > o"),), outputs=OUTPUTS))
    assert shared(JobTemplate("a", steps=(STEP,), outputs=OUTPUTS), {"p": text, "unused": "$REKINDLE_JOB"})
