"""Attempts whose temporary outputs were removed complete jobs from the content store only; plans promise no more."""

from __future__ import annotations

import textwrap

import pytest

from rekindle.domain.rerun.plan import ReasonKind
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.staleness import stale_jobs
from rekindle.spec import load

CHAIN = """
    name: chain
    params: {a: 1}
    jobs:
      p: {KEYS run: "echo p >> ran; echo ${params.a} > big", outputs: {big: {path: big, temp: true}}}
      q: {run: "echo q >> ran; cat big > small", inputs: {big: big}, outputs: {small: small}}
"""
CACHED = CHAIN.replace("KEYS", "cache: true,")


def update(project, text, a):
    """Do what `run` does. Return the jobs that the plan says are reused, and those that ran."""
    path = project.folder / "spec.yaml"
    path.write_text(textwrap.dedent(text))
    found = plan_update(project.session, load(path, params={"a": str(a)}))
    promised = [] if found.proposal is None else sorted(found.proposal.reuses)
    apply_update(project.session, found)
    project.work()
    project.check()
    log = project.folder / "ran"
    names = sorted(log.read_text().split())
    log.unlink()
    return [name for name in ("p", "q") if project.job(name) in promised], names


def made(project):
    return (project.folder / "small").read_text().strip(), (project.folder / "big").exists()


def reasons_of_check(project):
    checked = stale_jobs.explain(project.session, [project.job("p")])[0].checked
    return None if checked is None else [reason.kind for reason in checked.reasons]


def test_one_in_the_content_store_is_put_back_and_removed_again(project):
    assert update(project, CACHED, 1) == ([], ["p", "q"])
    assert update(project, CACHED, 2) == ([], ["p", "q"])
    for a in (1, 2, 1):
        assert update(project, CACHED, a) == (["p"], ["q"])
        assert made(project) == (str(a), False)


def test_one_that_is_gone_for_good_is_not_promised(project):
    text = CHAIN.replace("KEYS", "")
    for a in (1, 2, 1, 2):
        assert update(project, text, a) == ([], ["p", "q"])
        assert made(project) == (str(a), False)
        assert reasons_of_check(project) is None


@pytest.mark.parametrize("spoil", ["poison", "place"])
def test_a_job_whose_output_cannot_be_put_back_runs_and_says_so(project, spoil):
    update(project, CACHED, 1)
    update(project, CACHED, 2)
    if spoil == "poison":
        for path in (project.folder / ".rekindle" / "cache" / "contents").glob("*/*"):
            path.chmod(0o600)
            path.write_bytes(b"9\n")
    else:
        (project.folder / "big").write_text("of a person\n")
    assert update(project, CACHED, 1) == (["p"], ["p", "q"])
    assert made(project) == ("1", False)
    assert reasons_of_check(project) == [ReasonKind.OUTPUT]
