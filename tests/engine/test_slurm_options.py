"""The sizes that options of sbatch give a pilot."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import BadValue, UsageError
from rekindle.engine.slurm_options import parse_slurm_time, read_options


def test_sizes_are_read_in_each_form_and_the_rest_is_passed_on() -> None:
    found = read_options(["-c", "4", "-t", "2:00:00", "--mem=8G", "-A", "x", "--partition=short", "--exclusive"])
    assert (found.cpus, found.seconds, found.memory, found.gpus) == (4, 7200.0, 8 << 30, None)
    assert found.others == ("-A", "x", "--partition=short", "--exclusive")
    found = read_options(["-c8", "--time=30", "--mem", "500", "--gpus=a100:2"])
    assert (found.cpus, found.seconds, found.memory, found.gpus) == (8, 1800.0, 500 << 20, 2)
    assert read_options([]).others == ()


def test_times_of_slurm_are_read() -> None:
    times = {"3": 180, "3:00": 180, "0:07": 7, "1:00:00": 3600, "2-03:04:05": 183845, "1-12": 129600, "1-00:30": 88200}
    assert {text: parse_slurm_time(text) for text in times} == times


@pytest.mark.parametrize(
    ("words", "error"),
    [(["-t"], UsageError), (["--time=soon"], BadValue), (["-c", "many"], BadValue), (["--mem=big"], BadValue)],
)
def test_bad_sizes_are_refused(words, error) -> None:
    with pytest.raises(error):
        read_options(words)
