"""`rekindle doctor` on a host with a real Slurm."""

from __future__ import annotations

import re

import pytest

from rekindle.engine.doctor.findings import Installation, Status
from rekindle.engine.doctor.services import check_slurm
from slurm_cluster import Slurm


def test_slurm_answers(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.conf)
    found = check_slurm(Installation(None))
    assert found.status is Status.OK
    assert re.fullmatch(r"slurm\S* \d+.* answers in \d+ ms; 4 nodes", found.text)


def test_a_controller_that_does_not_answer_is_a_problem(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    found = check_slurm(Installation(None, environment={"SLURM_CONF": "/nowhere/slurm.conf"}))
    assert found.status is Status.PROBLEM
    assert found.todo == "scontrol ping"
