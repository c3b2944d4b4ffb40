"""Where a job starts when it runs again: at the beginning, or at a step, keeping the steps before it."""

from __future__ import annotations

from dataclasses import dataclass

from rekindle.domain.rerunning.rerun import FROM_BEGINNING, FROM_FAILED_STEP, AttemptView, JobView, Reason, StepView
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice


@dataclass(frozen=True, slots=True)
class Start:
    """A place to start: the position of a step, its name (or "beginning"), and the names of those kept."""

    position: int = 0
    label: str = FROM_BEGINNING
    keeps: tuple[str, ...] = ()
    warning: str = ""
    subtasks: Choice | None = None  # of the fan-out that is resumed there
    reason: Reason | None = None  # beside that the job was selected

    @property
    def resumes(self) -> bool:
        """Something of the live attempt is kept."""
        return self.position > 0 or self.subtasks is not None


BEGINNING = Start()


def find_start(view: JobView, asked: str) -> Start | str:
    """The place that `asked` ("beginning", "failed-step" or a step's name) means for this job, or in words why
    there is none. Steps are kept only while the latest definition has the same names before that place."""
    if asked == FROM_BEGINNING:
        return BEGINNING
    if asked == FROM_FAILED_STEP:
        return _failed_step(view)
    return _named_step(view, asked)


def completed_steps(attempt: AttemptView | None) -> list[StepView]:
    """The steps, from the first on without a gap, that need not run again: completed here, or kept from earlier."""
    done: list[StepView] = []
    for step in sorted(attempt.steps if attempt else (), key=lambda step: step.position):
        complete = step.state is State.COMPLETED or step.kept_from is not None
        if step.position != len(done) or not complete:
            break
        done.append(step)
    return done


def _failed_step(view: JobView) -> Start | str:
    attempt = view.attempt
    if attempt is None:  # canceled before it started: no step is complete
        return BEGINNING
    if attempt.state is State.COMPLETED:
        return "every step of it completed: there is no failed step to start at; leave out --from to run it all again"
    done = completed_steps(attempt)
    if not done:
        return BEGINNING
    if len(done) < len(view.steps) or _kept_names(done) != view.steps:
        return _at(view, len(done), done)
    stopped = next((step.name for step in attempt.steps if step.position == len(done)), None)
    if stopped is not None:
        return (
            f"it stopped at step `{stopped}`, which its definition does not have any more; start it from the beginning"
        )
    return _last_step(view, attempt, done)


def _last_step(view: JobView, attempt: AttemptView, done: list[StepView]) -> Start | str:
    """All steps completed and the attempt did not (an output is missing, the runner was lost at the very end):
    to run none of them would end the same way, so the last one is repeated."""
    last = len(done) - 1
    cause = f" ({attempt.cause})" if attempt.cause else ""
    warning = (
        f"every step of `{view.name}` completed and the attempt {attempt.state.label}{cause}: "
        f"its last step, `{view.steps[last]}`, runs again"
    )
    start = _at(view, last, done)
    return start if isinstance(start, str) else Start(start.position, start.label, start.keeps, warning)


def _named_step(view: JobView, name: str) -> Start | str:
    if name not in view.steps:
        return f"it has no step `{name}`; its steps are {_listed(view.steps)}"
    position = view.steps.index(name)
    done = completed_steps(view.attempt)
    if len(done) < position:
        missing = view.steps[len(done)]
        return f"it cannot start at `{name}`: step `{missing}`, which comes before, has not completed"
    return _at(view, position, done)


def _at(view: JobView, position: int, done: list[StepView]) -> Start | str:
    if position == 0:
        return BEGINNING
    kept, now = _kept_names(done[:position]), view.steps[:position]
    if kept != now:
        return f"its first steps were {_listed(kept)} and are {_listed(now)} now; start it from the beginning"
    return Start(position, view.steps[position], now)


def _kept_names(done: list[StepView]) -> tuple[str, ...]:
    return tuple(step.name for step in done)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
