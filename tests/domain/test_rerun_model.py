"""Random graphs, histories, reruns and undos: DESIGN's invariants hold after every step. Numbers in test names and
comments are those of the invariants in DESIGN, section 2."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from rerun_model import AGGREGATE, BASE, STEPS, World, ended
from rerun_views import as_kinds, plan_pairs

from rekindle.domain.errors import PlanOutdated, UndoRefused
from rekindle.domain.graph import descendants
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.overrides import NO_OVERRIDES, AppliedOverrides, Overrides, decode_overrides
from rekindle.domain.rerun.plan import ReasonKind, RerunPlan
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import RESET_HOLD, How, InternalHow, RequestMode, mode_of
from rekindle.domain.states import ACTIVE, JobEvent, State

STARTS = ["beginning", "failed-step", *STEPS]

ASKED = [
    None,
    Overrides({"alpha": 5}, cpus=2),
    Overrides({"beta": 6}, {"A": "b"}, memory="x2"),
    Overrides({"gamma": 7}),  # unknown to every job
    Overrides(time="x2"),  # no limit to multiply
]
HOWS = st.builds(
    How,
    start=st.sampled_from(STARTS),
    workdir=st.sampled_from([None, None, "new", "copy", "same"]),
    recovery=st.sampled_from([None, None, "keep", "clear"]),
    overrides=st.sampled_from(ASKED),
    keep_modified=st.booleans(),
    keep_outputs=st.booleans(),
    downstream=st.sampled_from(["all", "changed", "changed", "none"]),
    definition=st.sampled_from(["latest", "pinned"]),
    hold=st.sampled_from([None, None, None, RESET_HOLD]),
    cancel_running=st.booleans(),
)


class Reruns(RuleBasedStateMachine):
    """Every rule is an action of a runner or a user; `pick` chooses among the jobs for which it is possible."""

    world: World
    saved: list[RerunPlan]

    @initialize(n=st.integers(1, 7), data=st.data(), forbidden=st.just(()) | st.sets(st.integers(0, 6), max_size=3))
    def submit(self, n, data, forbidden):
        pairs = [(parent, child) for child in range(n) for parent in range(child)]
        edges = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
        self.world, self.saved = World(n, edges, forbidden), []
        self.attempts_seen, self.archived_states = 0, {}

    def _jobs(self, *states, held=True):
        jobs = self.world.jobs.values()
        return [job.id for job in jobs if job.state in states and (held or job.pointers.held is None)]

    def _claimable(self):
        ready = [job for job in self._jobs(State.READY, held=False) if self._candidate(job) is None]
        awaiting = self.world.awaiting()
        return [job for job in ready if job not in awaiting]

    def _to_check(self):
        return [job for job in self._jobs(State.READY, held=False) if self._candidate(job) is not None]

    def _candidate(self, job):
        return self.world.jobs[job].pointers.next.reuse_candidate

    # Running

    @precondition(lambda self: self._claimable())
    @rule(data=st.data())
    def claim(self, data):
        self.world.claim(data.draw(st.sampled_from(self._claimable())))

    @precondition(lambda self: self._to_check())
    @rule(data=st.data(), holds=st.booleans())
    def check_a_reserve(self, data, holds):
        self.world.check_reserve(data.draw(st.sampled_from(self._to_check())), holds)

    @precondition(lambda self: self._jobs(State.QUEUED))
    @rule(data=st.data())
    def start(self, data):
        self.world.start(data.draw(st.sampled_from(self._jobs(State.QUEUED))))

    @precondition(lambda self: self._jobs(State.READY, State.RUNNING, held=False))
    @rule(failing=st.sets(st.integers(0, 6), max_size=2), steps=st.integers(0, 3))
    def work_until_nothing_is_ready(self, failing, steps):
        for one in self.world.leaving():
            self.world.late_outcome(one.id, State.CANCELED)
        while jobs := self._jobs(State.READY, State.QUEUED, State.RUNNING, held=False):
            for job in jobs:
                if job in self._to_check():
                    self.world.check_reserve(job, job not in failing)
                    continue
                if self.world.jobs[job].state is State.READY:
                    self.world.claim(job)
                if self.world.jobs[job].state is State.QUEUED:
                    self.world.start(job)
                self.world.end(job, JobEvent.FAIL if job in failing else JobEvent.COMPLETE, steps)

    @precondition(lambda self: self._jobs(State.RUNNING))
    @rule(data=st.data(), steps=st.integers(0, 3))
    def complete(self, data, steps):
        self.world.end(data.draw(st.sampled_from(self._jobs(State.RUNNING))), JobEvent.COMPLETE, steps)

    @precondition(lambda self: self._jobs(*ACTIVE))
    @rule(data=st.data(), steps=st.integers(0, 3), event=st.sampled_from([JobEvent.FAIL, JobEvent.CANCEL]))
    def stop(self, data, steps, event):
        self.world.end(data.draw(st.sampled_from(self._jobs(State.QUEUED, State.RUNNING))), event, steps)

    @precondition(lambda self: any(attempt.archived_by for attempt in self.world.attempts.values()))
    @rule(data=st.data())
    def hear_late(self, data):
        """9: an outcome for an archived attempt changes no job's state."""
        before = self._standing()
        archived = [attempt.id for attempt in self.world.attempts.values() if attempt.archived_by]
        state = data.draw(st.sampled_from([State.COMPLETED, State.FAILED, State.CANCELED]))
        self.world.late_outcome(data.draw(st.sampled_from(archived)), state)
        assert self._standing() == before

    # Flags

    @precondition(lambda self: self._jobs(State.WAITING, State.READY))
    @rule(data=st.data())
    def cancel(self, data):
        self.world.cancel_idle(data.draw(st.sampled_from(self._jobs(State.WAITING, State.READY))))

    @rule(data=st.data(), reason=st.sampled_from([None, "held"]))
    def hold_or_release(self, data, reason):
        self.world.hold(data.draw(st.sampled_from(sorted(self.world.jobs))), reason)

    @precondition(lambda self: self.world.folders)
    @rule(data=st.data())
    def remove_a_folder(self, data):
        """A user removes the folder of an ended attempt."""
        ended_ones = sorted(attempt.folder for attempt in self.world.attempts.values() if ended(attempt))
        if ended_ones:
            self.world.folders.discard(data.draw(st.sampled_from(ended_ones)))

    # Reruns

    @rule(data=st.data())
    def rerun(self, data):
        decided = self._plan(data)
        if decided.jobs:
            self._apply(decided)

    @rule(data=st.data())
    def save_a_plan(self, data):
        decided = self._plan(data)
        if decided.jobs:
            self.saved.append(plan_from_json(json.loads(json.dumps(plan_to_json(decided)))))

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def apply_a_saved_plan(self, data):
        decided = self.saved.pop(data.draw(st.integers(0, len(self.saved) - 1)))
        before = self._standing()
        try:
            self._apply(decided)
        except PlanOutdated:
            assert self._standing() == before

    def _plan(self, data):
        jobs = st.lists(st.sampled_from(sorted(self.world.jobs)), min_size=1, max_size=3)
        plain = st.sampled_from(STARTS).map(How)
        hows = plain | HOWS | st.just(InternalHow(mode=RequestMode.RELEASE))
        requests = data.draw(st.lists(st.tuples(jobs, hows), min_size=1, max_size=2))
        views = self.world.views()
        decided = plan_pairs(views, self.world.graph, requests, self._exists)
        assert decided == plan_pairs(views, self.world.graph, requests, self._exists)  # 6
        assert decided == plan_pairs(as_kinds(views), self.world.graph, requests, self._exists)
        asked = {job: how for selected, how in requests for job in selected}
        self._check_plan(decided, asked)
        for job in decided.jobs:
            how = asked[job.id] if _is_selected(job) else None
            if not job.stays:
                self._check_start(job, how)
                self._check_folder(job, how)
                self._check_modified(job, how)
                self._check_pinned(job, how, asked)
        return decided

    def _exists(self, path):
        return path in self.world.folders or path.startswith("/p/")

    def _check_start(self, job, how):
        """7, for steps: completed steps without a gap are kept if requested, or if kept for later reruns."""
        start = how.start if how else "beginning"
        assert self.world.jobs[job.id].state not in ACTIVE or any(r.kind is ReasonKind.CANCELS for r in job.reasons)
        pointers = self.world.jobs[job.id].pointers
        attempt = pointers.attempt
        steps = self.world.attempts[attempt].steps if attempt else []
        done = sum(step.state is State.COMPLETED for step in steps)
        recovered = how is not None and start == "beginning" and pointers.next.keep_recovery and how.recovery != "clear"
        if recovered:
            attempt, expected = pointers.next.resume_attempt, pointers.next.resume_step
        elif start == "failed-step":
            expected = min(done, len(STEPS) - 1)
        else:
            expected = STEPS.index(start) if start in STEPS else 0
        assert job.next.resume_step == expected
        assert recovered or expected <= done
        assert job.keeps == STEPS[:expected]
        assert job.start == (STEPS[expected] if expected else "beginning")
        assert job.next.resume_attempt == (attempt if expected or job.next.take else None)
        assert (job.reasons[-1].kind is ReasonKind.RECOVERY) == bool(recovered)
        if how is None or not expected or how.recovery == "clear":
            assert job.next.keep_recovery is None
        else:
            assert job.next.keep_recovery == (0 if how.recovery == "keep" else pointers.next.keep_recovery)

    def _check_folder(self, job, how):
        following = job.next
        assert (following.take is None) == (following.folder is None)
        if following.take is not None:
            assert how is not None
            assert job.id % 2 == 0
            assert following.folder in self.world.folders
            assert {attempt.job for attempt in self.world.attempts.values() if attempt.folder == following.folder} == {
                job.id
            }
        if how is not None and how.workdir is not None:
            assert (following.take or "new") == how.workdir

    def _check_modified(self, job, how):
        now = decode_overrides(self.world.jobs[job.id].pointers.next.overrides)
        after = decode_overrides(job.next.overrides)
        if how is None:
            assert after == now
            return
        asked = how.overrides or Overrides()
        pinned_to = self.world.jobs[job.id].pointers.next.pinned_to
        unpinned = pinned_to is not None and how.definition == "latest"  # the overrides were those of that definition
        base = now if how.keep_modified and not unpinned else NO_OVERRIDES
        memory = now.resources(BASE).memory * 2 if asked.memory else None
        assert after == AppliedOverrides(asked.params, asked.env, memory, None, asked.cpus).over(base)
        assert {change.name for change in job.changes} == {
            name for name, had in _flat(now).items() | _flat(after).items() if _flat(now)[name] != _flat(after)[name]
        }

    def _check_pinned(self, job, how, asked):
        if how is None:
            root = next(one.detail["job"] for one in job.reasons if one.kind is ReasonKind.UPSTREAM)
            how = asked[root]
        attempts = [one.id for one in self.world.attempts.values() if one.job == job.id]
        live = self.world.jobs[job.id].pointers.attempt
        assert job.next.pinned_to == ((live or max(attempts, default=None)) if how.definition == "pinned" else None)

    def _reached(self, decided, asked):
        """Return (all reset jobs below the selection, those of them that may be reused, those that `none` leaves)."""
        selected = {job.id: asked[job.id].downstream for job in decided.jobs if _is_selected(job)}
        spreads, once = self.world.reset_children(), self._run_once()

        def below(*ways, children=spreads):
            return descendants(children, [job for job, way in selected.items() if way in ways])

        kept = below("all", "changed") & once
        reset = below("all", "changed") - once
        ran = {
            child
            for job, way in selected.items()
            if way == "none"
            for child in self.world.graph.children[job]
            if self.world.jobs[child].state in ACTIVE and child not in selected
        }
        spared = reset - below("all") - selected.keys()
        reset = reset | ran  # running children of `none` jobs run again too
        return reset, spared, (below("none", children=self.world.graph.children) | kept) - reset - selected.keys()

    def _run_once(self):
        return {job for job, view in self.world.views().items() if view.runs_once}

    def _check_plan(self, decided, asked):
        selected = {job.id for job in decided.jobs if _is_selected(job)}
        released = {job.id for job in decided.jobs if job.releases}
        refused = {job.id for job in decided.refused}
        planned = {job.id: job for job in decided.jobs}
        below, spared, left = self._reached(decided, asked)
        assert planned.keys() <= selected | below | left | released  # 1
        assert asked.keys() <= selected | released | refused | below | left  # every requested job is planned or refused
        assert not refused & (selected | below | released)
        assert selected | released <= asked.keys()
        active = {job for job in selected | below if self.world.jobs[job].state in ACTIVE}
        assert all(set(planned[job].archives) for job in active)
        roots = {job for job in selected if not asked[job].cancel_running}
        assert not active & (
            roots | descendants(self.world.reset_children(), {r for r in roots if asked[r].downstream != "none"})
        )
        assert not (selected | below) & self._run_once()
        assert all(one.kind == ("forbidden" if one.id in self._run_once() else "") for one in decided.refused)
        for job in decided.jobs:
            standing = self.world.jobs[job.id]
            assert job.stays == (job.id not in selected | below)
            assert job.stays or job.after in (State.READY, State.WAITING)
            assert job.holds == (asked[job.id].hold if job.id in selected else None)
            if job.releases:
                assert mode_of(asked[job.id]) is RequestMode.RELEASE
                assert standing.pointers.held == RESET_HOLD
            attempt = self.world.attempts.get(standing.pointers.attempt)
            expected = None
            if job.id in spared and job.id != AGGREGATE:
                good = attempt is not None and attempt.state is State.COMPLETED
                expected = attempt.id if good else None if attempt else standing.pointers.next.reuse_candidate
            assert job.stays or job.next.reuse_candidate == expected

    def _apply(self, decided):
        planned = {job.id: job for job in decided.jobs}
        before = {job: (standing.state, standing.pointers) for job, standing in self.world.jobs.items()}
        attempts = {attempt.id for attempt in self.world.attempts.values()}
        self.world.apply(decided)
        for job, standing in self.world.jobs.items():
            state, pointers = before[job]
            if job not in planned:
                assert (standing.state, standing.pointers) == (state, pointers)  # 1
                continue
            plan = planned[job]
            held = plan.holds or (None if plan.releases else pointers.held)
            assert standing.pointers.held == held
            if plan.stays:  # 2, for `none`: finished jobs stay, unstarted ones wait
                assert replace(standing.pointers, held=pointers.held) == pointers
                assert standing.state is state or (state, standing.state) == (State.READY, State.WAITING)
                continue
            assert standing.pointers.attempt is None
            below = any(reason.kind is ReasonKind.UPSTREAM for reason in plan.reasons)
            assert standing.state is State.WAITING or not below  # 2
            assert standing.pointers.next.resume_attempt is None or _is_selected(plan)
        assert attempts == set(self.world.attempts)  # 4
        self.world.check()  # 3, 11
        with pytest.raises(PlanOutdated):
            self.world.apply(decided)  # 6

    @precondition(lambda self: self.world.reruns)
    @rule(data=st.data())
    def undo(self, data):
        standing = [number for number, rerun in self.world.reruns.items() if not rerun.undone]
        if not standing:
            return
        number = data.draw(st.sampled_from(standing))
        rerun = self.world.reruns[number]
        before = self._standing()
        conflicts = self.world.undo_conflicts(number)
        blocked = bool(conflicts.started or conflicts.touched)
        try:
            self.world.undo(number)
        except UndoRefused:
            assert blocked
            assert self._standing() == before
            return
        assert not blocked
        for job, pointers in rerun.before.items():
            assert self.world.jobs[job].pointers == pointers  # 5; the states are checked by the invariant below

    # Invariants

    def _standing(self):
        return {job: (standing.state, standing.unmet, standing.pointers) for job, standing in self.world.jobs.items()}

    @invariant()
    def everything_equals_what_is_derived(self):
        """3, 8, 11."""
        self.world.check()

    @invariant()
    def no_attempt_is_ever_lost(self):
        """4; and the outcome of an archived attempt does not change."""
        assert len(self.world.attempts) >= self.attempts_seen
        self.attempts_seen = len(self.world.attempts)
        for attempt in self.world.attempts.values():
            if attempt.archived_by and ended(attempt):
                assert self.archived_states.setdefault(attempt.id, attempt.state) is attempt.state


def _is_selected(job):
    return any(reason.kind is ReasonKind.SELECTED for reason in job.reasons)


def _flat(modified):
    """Return the effective values, by the names of override changes."""
    resources = modified.resources(BASE)
    params = {"alpha": 1, "beta": 2} | modified.params
    return {
        **{f"params.{name}": value for name, value in params.items()},
        "env.A": modified.env.get("A"),
        "memory": resources.memory,
        "cpus": resources.cpus,
    }


Reruns.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_invariants_hold_through_any_history = Reruns.TestCase


# Histories that random rules are unlikely to produce


def finish(world, job, event=JobEvent.COMPLETE, steps=0):
    world.claim(job)
    world.start(job)
    world.end(job, event, steps)


def rerun(world, *jobs, start="beginning"):
    return world.apply(plan_pairs(world.views(), world.graph, [(jobs, How(start))]))


def labels(world):
    return [job.state.label for job in world.jobs.values()]


def test_undo_keeps_what_happened_elsewhere_meanwhile():
    """b (1) and x (0) are needed by c (2): rerun b while x runs, x completes, undo: c is ready."""
    world = World(3, [(0, 2), (1, 2)])
    finish(world, 1)
    world.claim(0)
    world.start(0)
    number = rerun(world, 1)
    assert labels(world) == ["running", "ready", "waiting"]
    world.end(0, JobEvent.COMPLETE, 0)
    assert labels(world) == ["completed", "ready", "waiting"]
    world.undo(number)
    assert labels(world) == ["completed", "completed", "ready"]
    world.check()


def test_reruns_are_undone_newest_first():
    world = World(2, [(0, 1)])
    finish(world, 0)
    finish(world, 1)
    first = rerun(world, 1)
    second = rerun(world, 0)
    with pytest.raises(UndoRefused, match=f"rerun {second} came later and touched `j1`"):
        world.undo(first)
    world.undo(second)
    assert labels(world) == ["completed", "ready"]
    world.undo(first)
    assert labels(world) == ["completed", "completed"]


def test_a_saved_plan_is_refused_when_a_parent_outside_it_has_moved():
    """c (3) needs b (0), which is rerun, x (1) and y (2). After x completes, c's state is unchanged, but the unmet
    count in the plan is wrong."""
    world = World(4, [(0, 3), (1, 3), (2, 3)])
    finish(world, 0)
    decided = plan_pairs(world.views(), world.graph, [([0], How())])
    assert decided.jobs[1].unmet == 3
    version = world.jobs[3].version
    finish(world, 1)
    assert world.jobs[3].version == version
    with pytest.raises(PlanOutdated):
        world.apply(decided)


def test_a_resumed_attempt_that_fails_again_is_resumed_from_where_it_came_to():
    world = World(1, [])
    finish(world, 0, JobEvent.FAIL, steps=1)
    rerun(world, 0, start="failed-step")
    finish(world, 0, JobEvent.FAIL, steps=1)
    decided = plan_pairs(world.views(), world.graph, [([0], How("failed-step"))])
    assert (decided.jobs[0].keeps, decided.jobs[0].next.resume_attempt) == (STEPS[:2], 2)


def test_undo_brings_back_the_resume_point_that_a_rerun_above_cleared():
    world = World(2, [(0, 1)])
    finish(world, 0)
    finish(world, 1, JobEvent.FAIL, steps=1)
    rerun(world, 1, start="failed-step")
    resuming = world.jobs[1].pointers
    assert (resuming.next.resume_attempt, resuming.next.resume_step) == (2, 1)
    number = rerun(world, 0)
    assert world.jobs[1].pointers == replace(resuming, next=NextAttempt())
    world.undo(number)
    assert world.jobs[1].pointers == resuming


@pytest.mark.parametrize("how", [How(), How(downstream="changed"), How(downstream="none"), How(cancel_running=True)])
def test_a_job_that_must_not_run_twice_stays_through_every_rerun_above(how):
    world = World(4, [(0, 1), (1, 2), (2, 3), (0, 3)], forbidden={1})
    for job in range(4):
        finish(world, job)
    for _ in range(2):
        world.apply(plan_pairs(world.views(), world.graph, [([0, 1, 2], how)]))
        world.check()
        for job in (0, 2, 3):
            if world.jobs[job].pointers.next.reuse_candidate is not None and world.jobs[job].state is State.READY:
                world.check_reserve(job, holds=False)
            if world.jobs[job].state is State.READY:
                finish(world, job)
            world.check()
    assert [one.job for one in world.attempts.values()].count(1) == 1
    assert world.jobs[1].state is State.COMPLETED
