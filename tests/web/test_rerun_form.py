"""The fields of the rerun dialog, as the options of a rerun."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.exceptions import HTTPException

from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import FROM_FAILED_STEP, KEEP_MOST, How, InternalHow, RequestMode
from rekindle.presentation.rerun_modes import REATTACH, how_of
from rekindle.web.access import Principal
from rekindle.web.rerun_form import MOST_MODES, read_form

SUBMITTER = Principal("laptop", frozenset({"read", "rerun", "submit"}))
RERUNNER = Principal("guest", frozenset({"read", "rerun"}))
CHECKED = {"keep_modified": "1", "keep_outputs": "1"}
DEFAULTS = {"downstream": "changed", "keep_modified": True, "keep_outputs": True}


def form(who: Principal = SUBMITTER, **given: str) -> Any:
    fields = {key.replace("_of_", "-"): [value] for key, value in {"selection": "plus=1", **CHECKED, **given}.items()}
    return read_form(fields, who)


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        ("keep", How(KEEP_MOST, **DEFAULTS)),
        ("failed-step", How(FROM_FAILED_STEP, **DEFAULTS)),
        ("step:fit", How("fit", **DEFAULTS)),
        ("accept-partial", How(accept_partial=True, **DEFAULTS)),
        ("beginning", How(recovery="clear", **DEFAULTS)),
    ],
)
def test_each_mode_becomes_its_options(mode: str, how: How) -> None:
    found = how_of(mode)
    assert isinstance(found, How)
    assert form(mode=mode).how(found) == how


def test_reattaching_is_no_rerun_and_an_unknown_mode_is_refused() -> None:
    assert how_of("reattach") == REATTACH
    for word in ("", "step:", "resubmit"):
        with pytest.raises(BadValue, match="there is no mode"):
            how_of(word)


def test_subtasks_apply_where_a_fan_out_is_resumed_only() -> None:
    chosen = form(subtasks="0,2-3")
    assert chosen.how(How(KEEP_MOST)).subtasks == (0, 2, 3)
    assert chosen.how(How()).subtasks is None
    assert chosen.how(How(accept_partial=True)).subtasks is None
    assert form().how(How("process", subtasks="failed")).subtasks == "failed"


def test_an_attempt_that_is_repeated_takes_no_other_option() -> None:
    assert form(cancel_running="1").how(InternalHow(mode=RequestMode.REPEAT)) == InternalHow(mode=RequestMode.REPEAT)


def test_boxes_that_are_not_ticked_are_off_and_canaries_keep_no_outputs() -> None:
    bare = read_form({"selection": ["plus=1"]}, SUBMITTER)
    assert (bare.keep_modified, bare.keep_outputs, bare.cancel_running) == (False, False, False)
    assert form(canary="2").how(How()).keep_outputs is False


def test_parameters_are_typed_and_need_the_scope_submit() -> None:
    asked = form(set="alpha=0.2\n\nname=b", env="A=1", memory="x2", cpus="2").overrides
    assert asked == Overrides({"alpha": 0.2, "name": "b"}, {"A": "1"}, "x2", None, 2.0)
    for field in ("set", "env"):
        with pytest.raises(HTTPException) as refused:
            form(RERUNNER, **{field: "alpha=0.2"})
        assert refused.value.status_code == 403
    assert form(RERUNNER, memory="8G").overrides is not None, "resources need no more than rerun"


@pytest.mark.parametrize(
    "given",
    [
        {"downstream": "some"},
        {"canary": "0"},
        {"canary": "many"},
        {"cpus": "two"},
        {"memory": "lots"},
        {"set": "alpha"},
        {"subtasks": "x"},
        {"note": "n" * 1001},
        {"mode_of_x": "beginning"},
        {f"mode_of_{job}": "keep" for job in range(MOST_MODES + 1)},
    ],
)
def test_a_field_that_cannot_be_read_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(RekindleError):
        form(**given)


def test_the_request_names_the_selection_and_the_mode_of_each_job() -> None:
    one = form(selection="w=1&state=failed&all=1", mode="beginning", note="why")
    assert one.request({2: "beginning", 3: "beginning"}) == {
        "selection": {"workflow": ["1"], "states": ["failed"]},
        "how": {"mode": "beginning", "downstream": "changed", "keep_modified": True, "keep_outputs": True},
    }
    several = form(mode_of_2="failed-step")
    assert several.request({2: "failed-step", 3: "keep", 4: "keep"})["how"]["mode"] == {
        "failed-step": "2",
        "keep": "3-4",
    }
