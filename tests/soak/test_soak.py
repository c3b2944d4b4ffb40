"""Real runners on a real workflow, with kills, pauses, full disks and clock changes at seeded moments.

The faults are a pure function of kind, seed and size, so that a failed test can be repeated by its name:

    python -m pytest -m "" "tests/soak/test_soak.py::test_nothing_is_lost[everything-3]"
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from soak_checks import contradictions
from soak_faults import ScheduleRun
from soak_project import SoakProject
from soak_schedule import KINDS, Schedule, schedule

Prepare = Callable[[str], SoakProject]

INTERNAL_ERRORS = ("Traceback (most recent call last)", "rekindle: unexpected")


def seeds(alone: int, together: int) -> list[tuple[str, int]]:
    """Return (kind, seed): `alone` seeds of each kind, and `together` seeds of all kinds together."""
    return [(kind, seed) for kind in KINDS for seed in range(together if kind == "everything" else alone)]


def play(project: SoakProject, plan: Schedule, request: pytest.FixtureRequest) -> None:
    project.write(plan.scale)
    began = time.monotonic()
    game = ScheduleRun(project, plan)
    game.run()
    wrong = game.wrong + contradictions(project, plan.scale, time.monotonic() - began)
    texts = [path.read_text(errors="replace") for path in sorted(project.folder.glob("*.err"))]
    wrong += [text for text in texts if any(word in text for word in INTERNAL_ERRORS)]
    if wrong:
        again = f'python -m pytest -m "" "{request.node.nodeid}"'
        met = ", ".join(f"{times} × {what}" for what, times in game.met.items())
        left = ", ".join(f"{n} {state.label}" for state, n in game.left.items())
        lines = [f"seed {plan.seed}; again: {again}", f"met: {met}; left then: {left}", *wrong, str(plan)]
        pytest.fail("\n".join(lines), pytrace=False)


def test_a_schedule_follows_from_its_seed() -> None:
    assert schedule("everything", 1, 14, 10) == schedule("everything", 1, 14, 10)
    assert schedule("everything", 1, 14, 10) != schedule("everything", 2, 14, 10)


@pytest.mark.parametrize(("kind", "seed"), seeds(alone=1, together=3))
def test_nothing_is_lost(prepare: Prepare, request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    play(prepare(kind), schedule(kind, seed, scale=14, faults=10), request)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "seed"), seeds(alone=20, together=80))
def test_nothing_is_lost_of_a_thousand(prepare: Prepare, request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    play(prepare(kind), schedule(kind, seed, scale=110, faults=40), request)
