"""What the plots of a workflow show, read in one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rekindle.domain import run_plots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.domain.run_plots import GroupSpread, OutcomeBins, TimedAttempt, Timeline
    from rekindle.engine.session import Session


class RunPlots(msgspec.Struct, frozen=True):
    """The plots of one workflow. `attempts`: how many have started; `more_groups`: how many are left out."""

    attempts: int
    outcomes: OutcomeBins | None
    spreads: Sequence[GroupSpread]
    more_groups: int
    timeline: Timeline | None
    critical: Sequence[TimedAttempt]


def plots(session: Session, workflow: int) -> RunPlots:
    """Return the plots of a workflow."""
    now = session.clock()
    with session.store.read() as archive:
        attempts = archive.statistics.attempts_in_time(workflow)
        path = run_plots.critical_path(attempts, lambda job: archive.jobs.parents([job]).get(job, ()))
    groups, more = run_plots.spreads(attempts)
    return RunPlots(
        len(attempts),
        run_plots.outcome_bins(attempts, now),
        groups,
        more,
        run_plots.timeline(attempts, path, now),
        path,
    )
