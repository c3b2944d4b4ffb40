"""Requests of reruns: one job has one set of options, and modes exclude each other."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import UsageError
from rekindle.domain.rerun.request import (
    How,
    InternalHow,
    RequestMode,
    check_how,
    how_to_json,
    is_automatic,
    normalize_requests,
    resets_downstream,
)


def test_each_job_has_the_options_of_its_list_in_order():
    first, second = How(), How(downstream="changed")
    requests = normalize_requests([([3, 1], first), ([2], second)])
    assert list(requests.hows.items()) == [(3, first), (1, first), (2, second)]
    assert requests.conflicts == {}
    assert list(requests.by_how()) == [(first, [3, 1]), (second, [2])]


def test_a_job_with_several_options_is_a_conflict_and_one_named_twice_is_not():
    requests = normalize_requests([([1, 2], How("failed-step")), ([2, 3, 3], How()), ([3], How())])
    assert list(requests.hows) == [1, 2, 3]
    assert list(requests.conflicts) == [2]
    assert "from beginning and from failed-step" in requests.conflicts[2]


def test_jobs_can_be_left_out():
    requests = normalize_requests([([1, 2], How()), ([2], How("failed-step"))])
    assert list(requests.without({1}).hows) == [2]
    assert requests.without({1}).conflicts == requests.conflicts


@pytest.mark.parametrize("mode", [RequestMode.RELEASE, RequestMode.REPEAT])
def test_a_release_and_a_repeat_take_no_other_option(mode):
    check_how(InternalHow(mode=mode))
    with pytest.raises(UsageError):
        check_how(InternalHow(mode=mode, keep_outputs=True))


def test_only_a_rerun_that_a_user_asked_for_resets_jobs_downstream():
    assert [mode for mode in RequestMode if resets_downstream(InternalHow(mode=mode))] == [RequestMode.RERUN]
    assert [mode for mode in RequestMode if is_automatic(InternalHow(mode=mode))] == [
        RequestMode.RESUME,
        RequestMode.REPEAT,
    ]


def test_only_a_release_names_its_mode_in_the_record_of_the_request():
    assert how_to_json(InternalHow(mode=RequestMode.RELEASE))["release"] is True
    assert "release" not in how_to_json(InternalHow(mode=RequestMode.REPEAT))
