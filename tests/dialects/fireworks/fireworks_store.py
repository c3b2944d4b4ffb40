"""A store of fireworks whose launches are written directly, without running anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.models import AttemptEnd, Failure, NewAttempt, Signature, StateChange, StepOutcome
from rekindle.domain.states import Cause, JobEvent, State, transition
from rekindle.engine.session import Session
from rekindle.store.opening import open_store

TEMPLATE = JobTemplate("work", (Step("0-A", call="a:b"), Step("1-B", call="a:b")))


class Fireworks:
    """A session that writes fireworks and launches."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(open_store(str(folder), create=True), lambda: 1_700_000_000.0)
        self._now = 1_600_000_000.0

    def add(
        self,
        specs: Sequence[Mapping[str, Any]],
        links: Sequence[tuple[int, int]] = (),
        *,
        name: str = "flow",
        metadata: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Add a workflow of fireworks with these specs, named fw-0, fw-1, …. Returns their ids."""
        created = "2024-05-01T10:00:00"
        jobs = [
            JobNode(f"fw-{at}", 0, {"name": f"fw {at}", "fw": -at - 1, "created_on": created, "spec": spec})
            for at, spec in enumerate(specs)
        ]
        about = {"name": name, "metadata": dict(metadata or {}), "created_on": created}
        made = Definition(name, "/p", [TEMPLATE], jobs, list(links), params={"fireworks": about})
        with self.session.store.write() as archive:
            workflow = archive.workflows.add(made, self._now)
            names = archive.jobs.named([job.name for job in jobs], workflow)
        return [names[job.name][0] for job in jobs]

    def launch(self, workflow_of: int, endings: Mapping[int, object]) -> dict[int, int]:
        """Claim the ready jobs in the workflow of a firework, and end those in `endings`: with a text, they fail
        with it as their traceback; with a list, these are the results of their steps. The others are RESERVED.
        Returns the launches by firework."""
        self._now += 100
        with self.session.store.write() as archive:
            (workflow,) = archive.jobs.workflows([workflow_of])
            ready = archive.queue.ready(workflow, 1000)
            first = archive.queue.next_attempt()
            attempts = [
                NewAttempt(first + at, f"t{first + at}", job, f"/launches/{first + at}") for at, job in enumerate(ready)
            ]
            archive.queue.claim(attempts, 1, self._now)
            launches = {one.job.id: one.id for one in attempts}
            ended = [_ending(launches[job], result, self._now) for job, result in endings.items() if job in launches]
            standing = archive.queue.status([one.attempt for one in ended])
            archive.queue.end(ended, standing)
            moves = []
            for one in ended:
                at = standing[one.attempt]
                running = transition(at.job_state, JobEvent.START, "")
                event = JobEvent.COMPLETE if one.state is State.COMPLETED else JobEvent.FAIL
                moves.append(
                    StateChange(at.job, at.workflow, at.resource_class, at.job_state, transition(running, event, ""))
                )
            archive.queue.move(moves)
            done = [move.job for move in moves if move.after is State.COMPLETED]
            archive.queue.completed(done)
        return launches


def _ending(attempt: int, result: object, now: float) -> AttemptEnd:
    if isinstance(result, str):
        return AttemptEnd(
            attempt,
            State.FAILED,
            ended=now + 3,
            started=now + 1,
            host="node7",
            cause=Cause.EXCEPTION,
            failure=Failure("ValueError", "it broke", result, ""),
            signature=Signature("sig", "ValueError", "it broke"),
            steps=(StepOutcome(0, "0-A", State.FAILED, Cause.EXCEPTION),),
        )
    assert isinstance(result, list)
    steps = tuple(
        StepOutcome(at, TEMPLATE.steps[at].name, State.COMPLETED, result=json.dumps(one))
        for at, one in enumerate(result)
    )
    return AttemptEnd(attempt, State.COMPLETED, ended=now + 3, started=now + 1, host="node7", exit_code=0, steps=steps)
