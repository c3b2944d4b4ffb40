"""`retry:` of spec files, and the problems of invalid rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_problems import HEAD, problems_of

from rekindle import Workflow
from rekindle.domain.definition import RetryRule
from rekindle.domain.states import Cause
from rekindle.domain.texts.quantities import Amount
from rekindle.spec import load

EVERYTHING = """\
name: a
defaults: {resources: {memory: 1G, time: 10m}, retry: {max: 2, on: [lost, timeout], delay: 30s}}
jobs:
  plain: {run: x}
  never: {run: x, retry: []}
  other:
    run: x
    retry:
      - {max: 3, on: oom, memory: x1.5, max_memory: 8G, time: 2h, max_time: 8h, other_host: true, from: failed-step}
      - {max: 1, exit_codes: [10, 75], error: "tempor(ary|al)", delay: 1m, backoff: 2, max_delay: 10m, jitter: 0.1}
"""


def test_rules_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EVERYTHING)
    plain, never, other = load(path).templates
    assert plain.retry == (RetryRule(2, (Cause.LOST, Cause.TIMEOUT), delay=30.0),)
    assert never.retry == ()
    assert other.retry == (
        RetryRule(
            3,
            (Cause.OOM,),
            memory=Amount(factor=1.5),
            max_memory=8 * 2**30,
            time=Amount(value=7200.0),
            max_time=8 * 3600.0,
            other_host=True,
            start="failed-step",
        ),
        RetryRule(
            1,
            exit_codes=(10, 75),
            error="tempor(ary|al)",
            delay=60.0,
            backoff=2.0,
            max_delay=600.0,
            jitter=0.1,
        ),
    )


def test_the_builder_takes_the_same_rules(tmp_path: Path) -> None:
    flow = Workflow("a", directory=tmp_path, defaults={"retry": {"max": 1, "on": "lost"}})
    flow.job("one", run="x")
    flow.job("two", run="x", retry=[{"max": 4, "delay": "30s"}])
    one, two = flow.definition().templates
    assert one.retry == (RetryRule(1, (Cause.LOST,)),)
    assert two.retry == (RetryRule(4, delay=30.0),)


@pytest.mark.parametrize(
    ("rule", "expected"),
    {
        "3": "3:22: `retry` must be a mapping or a list of mappings, and is 3 "
        "(as in `retry: {max: 2, on: [lost, timeout], delay: 30s}`)",
        "{delay: 3s}": "3:22: `retry` has no `max` (as in `retry: {max: 2, on: [lost, timeout], delay: 30s}`)",
        "{max: -1}": "3:28: `max` must be at least 0, and is -1",
        "{max: 1, of: lost}": "3:31: `retry` has no key 'of' (known: max, on, exit_codes, error, delay, backoff, "
        "max_delay, jitter, memory, time, max_memory, max_time, other_host, from)",
        "{max: 1, on: [los]}": "3:36: a cause must be exit or exception or signal or oom or timeout or lost or start "
        "or missing_input or missing_output or subtasks, and is 'los' (did you mean `lost`?)",
        "{max: 1, on: canceled}": "3:35: canceled jobs are never retried (rerun it: rekindle rerun -s canceled)",
        "{max: 1, on: []}": "3:35: the list is empty: no failure would fit (leave the key out to fit every failure)",
        "{max: 1, exit_codes: 0}": "3:43: an exit code must be at least 1, and is 0",
        "{max: 1, exit_codes: [256]}": "3:44: an exit code must be at most 255, and is 256",
        "{max: 1, exit_codes: 3, on: oom}": "3:31: a job that ends by oom has no exit code, and all "
        "conditions of a rule must match (write a list of two rules: one with `on`, one without)",
        "{max: 1, error: '('}": "3:38: `error`: '(' is not a regular expression: missing ), unterminated subpattern at "
        r"position 0 (put \ before ( [ { * + ? . to mean them)",
        "{max: 1, delay: 30}": "3:38: `delay`: the duration 30 has no unit (30s for seconds or 30m for minutes; write "
        "it like 200ms, 90s, 10m, 1h30m, 2d, PT1H30M, 04:00:00 or 1-02:00:00)",
        "{max: 1, backoff: 2}": "3:31: `backoff` has no meaning without `delay` (give `delay` too)",
        "{max: 1, delay: 1s, backoff: 0.5}": "3:51: `backoff` must be from 1 to 1000, and is 0.5 "
        "(2 doubles each delay)",
        "{max: 1, delay: 1s, jitter: 2}": "3:50: `jitter` must be a share from 0 to 1, and is 2 "
        "(0.1 varies by a tenth)",
        "{max: 1, memory: x2}": "3:39: `memory: x2` multiplies the job's memory, and the job sets none "
        "(set `resources: {memory: …}`, or name an amount)",
        "{max: 1, memory: 512}": "3:39: memory: the size 512 has no unit (512M for mebibytes or 512B for bytes; write "
        "it like 512M, 8G, 8GiB or 1.5T; a factor is written like x1.5)",
        "{max: 1, memory: 1G, max_time: 2h}": "3:43: `max_time` has no meaning without `time` (give `time` too)",
        "{max: 1, from: last}": "3:37: `from` must be beginning or failed-step, and is 'last' (known: beginning, "
        "failed-step)",
    }.items(),
)
def test_each_problem_is_reported_with_its_place(tmp_path: Path, rule: str, expected: str) -> None:
    assert problems_of(tmp_path, HEAD + f"  x: {{run: x, retry: {rule}}}") == [f"s.yaml:{expected}"]


def test_a_default_factor_applies_to_jobs_that_set_the_resource(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: a\ndefaults: {retry: {max: 1, memory: x2}}\njobs: {x: {run: x}}\n")
    assert load(path).templates[0].retry[0].memory == Amount(factor=2.0)
