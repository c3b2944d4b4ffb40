"""Claims and outcomes."""

from __future__ import annotations

import multiprocessing

import pytest
from msgspec.structs import replace
from store_driving import (
    DIAMOND,
    SMALL,
    claim,
    claim_in,
    completed_ending,
    end,
    end_in,
    failure_ending,
    ids,
    older_store,
    run,
    start,
    states,
    submit,
    template,
)

from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.models import (
    AttemptEnd,
    Failure,
    LeftProcess,
    LeftRunning,
    NewAttempt,
    Signature,
    StateChange,
    StepOutcome,
)
from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import Cause, State
from rekindle.domain.verdicts import Verdict, VerdictLevel
from rekindle.store.opening import open_store
from rekindle.store.queries import written_for_sqlite

W, R, Q, X, C, F, K = State


def test_jobs_without_needs_are_ready_and_the_others_wait(store):
    workflow = submit(store, DIAMOND)
    assert states(store, workflow) == {"top": R, "left": W, "right": W, "bottom": W}
    with store.read() as archive:
        assert archive.workflows.find(workflow).counts == {R: 1, W: 3}


def test_a_diamond_runs_in_its_order(store):
    workflow = submit(store, DIAMOND)
    order = []
    while attempts := claim(store, workflow):
        order.append(sorted(one.job.name for one in attempts))
        end(store, [completed_ending(one.id) for one in attempts])
    assert order == [["top"], ["left", "right"], ["bottom"]]
    with store.read() as archive:
        assert archive.workflows.find(workflow).counts == {C: 4}


def test_jobs_that_need_a_failed_job_keep_waiting(store):
    workflow = submit(store, DIAMOND)
    run(store, workflow, failing=["left"])
    assert states(store, workflow) == {"top": C, "left": F, "right": C, "bottom": W}


def test_parents_that_complete_in_one_batch_release_their_child_once(store):
    workflow = submit(store, {"a": [], "b": [], "c": [], "d": ["a", "b", "c"]})
    first, *rest = claim(store, workflow)
    end(store, [completed_ending(first.id)])
    assert states(store, workflow)["d"] is W
    end(store, [completed_ending(one.id) for one in rest])
    assert states(store, workflow)["d"] is R


def test_an_end_without_start_values_keeps_those_of_the_start(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    start(store, [attempt])
    assert states(store, workflow) == {"a": X}
    with store.write() as archive:
        ending = completed_ending(attempt.id)
        end_in(archive, [type(ending)(ending.attempt, ending.state, ended=9.0)])
    with store.read() as archive:
        one = archive.attempts.get(attempt.id)
        assert (one.started, one.ended, one.worker, one.host, one.pid, one.pid_start) == (
            3.0,
            9.0,
            "w1",
            "here",
            11,
            99,
        )
        assert archive.workflows.span(workflow) == (3.0, 9.0)


def test_every_value_of_an_end_is_stored(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    end(store, [failure_ending(attempt.id, "lost its way")])
    with store.read() as archive:
        [one] = archive.attempts.listing(None, workflow)
    assert (one.state, one.cause, one.exit_code, one.signature) == (F, Cause.EXIT, 2, "sig-lost its way")
    assert (one.failure.message, one.failure.stderr) == ("lost its way", "it broke\n")
    assert [(step.name, step.state, step.cause) for step in one.steps] == [("one", C, None), ("two", F, Cause.EXIT)]
    assert (one.number, one.token, one.runner, one.folder, one.queued) == (1, attempt.token, 1, attempt.folder, 2.0)


def end_with_every_field(attempt):
    return AttemptEnd(
        attempt,
        F,
        9.0,
        started=8.0,
        cause=Cause.SIGNAL,
        exit_code=1,
        signal=11,
        failure=Failure("T", "m", "t", "s"),
        cpu_seconds=0.5,
        max_rss_bytes=7,
        result="[1]",
        verdict=Verdict(VerdictLevel.WARNING, "meh"),
        evidence='{"a": 1}',
        steps=(
            StepOutcome(
                0, "one", F, Cause.SIGNAL, 1, 11, 8.0, 9.0, "[1]", 2, "{}", Verdict(VerdictLevel.BLOCKER, "no")
            ),
        ),
        partial=True,
        code="c0de",
        left_running=LeftRunning(True, 1, (LeftProcess(5, "sleep \udce9"),)),
        worker="w",
        host="h",
        pid=3,
        pid_start=4,
        signature=Signature("abc", "T", "m"),
    )


def test_every_field_of_an_end_is_read_back_with_its_attempt(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    written = end_with_every_field(attempt.id)
    end(store, [written])
    with store.read() as archive:
        read = archive.attempts.get(attempt.id)
    assert read.signature == "abc"
    for name in set(AttemptEnd.__struct_fields__) - {"attempt", "signature"}:
        assert getattr(written, name) != getattr(AttemptEnd(0, C, 0.0), name), f"{name} is not tested"
        assert getattr(read, name) == getattr(written, name), name


def test_each_field_of_a_completed_end_is_read_back_alone(store):
    """Ends with few values are written by a statement of their own."""
    fields = sorted(set(AttemptEnd.__struct_fields__) - {"attempt", "state", "signature"})
    workflow = submit(store, {name: [] for name in fields})
    attempts = claim(store, workflow)
    written = {}
    for name, one in zip(fields, attempts, strict=True):
        value = getattr(end_with_every_field(one.id), name)
        written[one.id] = replace(AttemptEnd(one.id, C, 4.0), **{name: value})
    end(store, list(written.values()))
    with store.read() as archive:
        for attempt, expected in written.items():
            read = archive.attempts.get(attempt)
            for name in (*fields, "state"):
                assert getattr(read, name) == getattr(expected, name), name


def test_what_a_start_recorded_outlasts_an_end_without_it(store):
    workflow = submit(store, {"a": [], "b": []})
    attempts = claim(store, workflow)
    start(store, attempts)
    end(store, [AttemptEnd(attempts[0].id, C, 9.0), failure_ending(attempts[1].id, "lost its way")])
    with store.read() as archive:
        for one in attempts:
            read = archive.attempts.get(one.id)
            assert (read.worker, read.host, read.pid, read.pid_start) == ("w1", "here", 10 + one.id, 99)


def test_a_step_written_twice_has_the_last_values(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    with store.write() as archive:
        archive.queue.steps([(attempt.id, StepOutcome(0, "one", X))])
        archive.queue.steps([(attempt.id, StepOutcome(0, "one", C, result="7", kept_from=3))])
        assert archive.attempts.get(attempt.id).steps == (StepOutcome(0, "one", C, result="7", kept_from=3),)


def test_a_step_that_completed_replaces_all_that_it_reported_before(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    failed = StepOutcome(
        0, "one", F, Cause.EXIT, 2, 9, 1.0, 2.0, "1", 3, '{"exit": true}', Verdict(VerdictLevel.WARNING, "hm")
    )
    completed = StepOutcome(0, "one", C, exit_code=0, started=3.0, ended=4.0, result="7")
    with store.write() as archive:
        archive.queue.steps([(attempt.id, failed)])
        assert archive.attempts.get(attempt.id).steps == (failed,)
        archive.queue.steps([(attempt.id, completed)])
        assert archive.attempts.get(attempt.id).steps == (completed,)


def test_of_the_ends_of_a_step_that_are_written_together_the_last_counts(store):
    workflow = submit(store, {f"job{number}": [] for number in range(100)})
    attempts = [one.id for one in claim(store, workflow)]
    first, last = StepOutcome(0, "one", C, result="1"), StepOutcome(0, "one", C, exit_code=0, result="2")
    with store.write() as archive:
        archive.queue.steps([(one, step) for step in (first, last) for one in attempts])
        assert {archive.attempts.get(one).steps for one in attempts} == {(last,)}


@pytest.mark.parametrize("turn", [True, False], ids=["turn", "write"])
def test_the_span_of_a_workflow_is_that_of_its_attempts_in_whatever_order_they_end(store, turn):
    workflow = submit(store, {"a": [], "b": [], "c": []})
    times = dict(zip([one.id for one in claim(store, workflow)], [(5.0, 6.0), (2.0, 9.0), (3.0, 4.0)], strict=True))
    for number, (started, ended) in times.items():
        with store.turn() if turn else store.write() as archive:
            end_in(archive, [replace(completed_ending(number), started=started, ended=ended)])
    with store.read() as archive:
        assert archive.workflows.span(workflow) == (2.0, 9.0)
        assert archive.check() == []


def test_a_child_becomes_ready_with_its_last_parent_unless_it_was_canceled(store):
    workflow = submit(store, {"a": [], "b": [], "child": ["a", "b"], "canceled": ["a", "b"]})
    canceled = ids(store, workflow)["canceled"]
    with store.write() as archive:
        archive.jobs.cancel([canceled])
        archive.queue.move([StateChange(canceled, workflow, 1, W, K)])
    first, second = claim(store, workflow)
    end(store, [completed_ending(first.id)])
    assert states(store, workflow) == {"a": C, "b": Q, "child": W, "canceled": K}
    end(store, [completed_ending(second.id)])
    assert states(store, workflow) == {"a": C, "b": C, "child": R, "canceled": K}
    with store.read() as archive:
        assert archive.workflows.find(workflow).counts == {R: 1, C: 2, K: 1}
        assert archive.check() == []


def test_a_move_from_another_state_writes_nothing(store):
    workflow = submit(store, {"a": [], "b": []})
    jobs = ids(store, workflow)
    stale = [StateChange(jobs["a"], workflow, 1, R, K), StateChange(jobs["b"], workflow, 1, W, K)]
    with pytest.raises(StoreUnavailable, match="1 of 2"), store.write() as archive:
        archive.queue.move(stale)
    assert states(store, workflow) == {"a": R, "b": R}


def test_a_job_is_not_claimed_twice(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    again = NewAttempt(attempt.id + 1, "other", attempt.job, "/b")
    with pytest.raises(StoreUnavailable), store.write() as archive:
        archive.queue.claim([again], 2, 3.0)
    with store.read() as archive:
        assert len(archive.attempts.listing(None, workflow)) == 1


def test_an_attempt_does_not_end_twice(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    end(store, [completed_ending(attempt.id)])
    with pytest.raises(StoreUnavailable), store.write() as archive:
        archive.queue.end([failure_ending(attempt.id)], archive.queue.status([attempt.id]))


def test_higher_priorities_come_first_then_lower_ids(store):
    high = template("high", "one", priority=5)
    workflow = submit(store, {"a": [], "b": [], "c": []}, template={"b": high, "c": high})
    assert [one.job.name for one in claim(store, workflow)] == ["b", "c", "a"]


def test_as_many_ready_jobs_of_each_resource_class_are_read(store):
    small = template("small", "one", resources=SMALL)
    workflow = submit(store, {"a": [], "b": [], "c": []}, template={"b": small})
    with store.read() as archive:
        for scope in (None, workflow):
            assert [one.name for one in archive.queue.ready(scope, 9)] == ["a", "b", "c"]
            first = archive.queue.ready(scope, 1)
            assert [one.name for one in first] == ["a", "b"]
            assert [one.name for one in archive.queue.ready(scope, 9, resource_class=first[0].resource_class)] == [
                "a",
                "c",
            ]
        resources = archive.jobs.resources([one.resource_class for one in first])
        assert [resources[one.resource_class].cpus for one in first] == [1.0, 0.5]


def test_ready_jobs_of_several_workflows_come_in_one_order(store):
    high = template("high", "one", priority=5)
    for name, jobs in (("x", {"a": [], "b": []}), ("y", {"c": [], "d": []}), ("z", {"e": []})):
        submit(store, jobs, name=name, template={"d": high, "e": high})
    with store.read() as archive:
        assert [one.name for one in archive.queue.ready(None, 9)] == ["d", "e", "a", "b", "c"]
        assert [one.name for one in archive.queue.ready(None, 3)] == ["d", "e", "a"]
        assert [one.name for one in archive.queue.ready(None, 2, stopped=[1, 3])] == ["d", "c"]


DELAY = "UPDATE job SET next_attempt = '{\"not_before\":50}' WHERE id = :job"


def test_held_and_delayed_jobs_are_not_ready(store):
    workflow = submit(store, {"a": [], "b": [], "c": []})
    jobs = ids(store, workflow)
    with store.write() as archive:
        archive.jobs.hold([jobs["a"]], "looks odd")
        archive.jobs._db.driver.execute(DELAY, {"job": jobs["b"]})
        assert archive.jobs.get([jobs["a"]])[0].held == "looks odd"
        assert (archive.queue.next_due(workflow, 49.0), archive.queue.next_due(None, 49.0)) == (50.0, 50.0)
        assert archive.overviews.delayed(49.0) == {workflow: 1}
        assert (archive.queue.next_due(workflow, 50.0), archive.overviews.delayed(50.0)) == (None, {})
    assert [one.job.name for one in claim(store, workflow, now=49.0)] == ["c"]
    assert [one.job.name for one in claim(store, workflow, now=50.0)] == ["b"]
    with store.write() as archive:
        archive.jobs.hold([jobs["a"]], None)
        assert archive.queue.next_due(None, 0.0) is None
    assert [one.job.name for one in claim(store, workflow)] == ["a"]


def test_an_archived_workflow_offers_nothing(store):
    workflow = submit(store, {"a": []})
    with store.write() as archive:
        archive.workflows.archive(workflow, 5.0)
        assert archive.queue.ready(None, 9) == archive.queue.ready(workflow, 9) == []
        archive.workflows.archive(workflow, None)
        assert len(archive.queue.ready(None, 9)) == 1


def test_a_claim_given_back_leaves_no_trace_but_its_number_is_not_given_again(store):
    workflow = submit(store, {"a": [], "b": []})
    first, second = claim(store, workflow)
    with store.write() as archive:
        archive.queue.steps([(second.id, StepOutcome(0, "one", C, kept_from=1))])
        archive.fingerprints.put_needed({first.id: {7: 1}, second.id: {7: 1}})
        archive.fingerprints.put_patched({second.id: {"x": 1}})
        archive.queue.release({second.id: second.job.id})
        archive.queue.move([StateChange(second.job.id, workflow, second.job.resource_class, Q, R)])
    with store.read() as archive:
        job = archive.jobs.get([second.job.id])[0]
        assert (job.state, job.attempt, job.attempts) == (R, None, 0)
        assert [one.id for one in archive.attempts.listing(None, workflow)] == [first.id]
        assert archive.queue.next_attempt() == second.id + 1
        assert archive.fingerprints.needed([first.id, second.id]) == {first.id: {7: 1}}
        assert archive.fingerprints.patched([second.id]) == {}


def test_a_claim_that_has_started_is_not_given_back(store):
    workflow = submit(store, {"a": []})
    attempts = claim(store, workflow)
    start(store, attempts)
    with pytest.raises(StoreUnavailable), store.write() as archive:
        archive.queue.release({attempts[0].id: attempts[0].job.id})


def test_status_has_the_attempt_and_its_job(store):
    workflow = submit(store, {"a": []})
    [attempt] = claim(store, workflow)
    with store.read() as archive:
        standing = archive.queue.status([attempt.id, 999])
    assert list(standing) == [attempt.id]
    one = standing[attempt.id]
    assert (one.token, one.state, one.archived, one.job_state, one.job_attempt) == (
        attempt.token,
        Q,
        False,
        Q,
        attempt.id,
    )
    assert (one.job, one.name, one.workflow) == (attempt.job.id, "a", workflow)


def _claim_until_nothing_is_left(
    folder: str, workflow: int, block: str, told: multiprocessing.Queue[list[int]]
) -> None:
    store = open_store(folder, create=False)
    mine: list[int] = []
    while True:
        with getattr(store, block)() as archive:
            attempts = claim_in(archive, workflow, limit=3)
            end_in(archive, [completed_ending(one.id) for one in attempts])
        if not attempts:
            break
        mine += [one.job.id for one in attempts]
    store.close()
    told.put(mine)


@pytest.mark.parametrize("block", ["write", "turn"])
def test_processes_that_claim_at_once_never_claim_the_same_job(store, block):
    """Each of the last ten jobs needs a dozen others, which several processes complete at once."""
    jobs = {f"job{n}": [] for n in range(120)}
    jobs |= {f"last{n}": [f"job{12 * n + at}" for at in range(12)] for n in range(10)}
    workflow = submit(store, jobs)
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    arguments = (store.folder, workflow, block, told)
    work = [context.Process(target=_claim_until_nothing_is_left, args=arguments) for _ in range(4)]
    for process in work:
        process.start()
    claimed = [job for _ in work for job in told.get(timeout=30)]
    for process in work:
        process.join(30)
    late = claim(store, workflow)  # released by a process when the others had ended
    end(store, [completed_ending(one.id) for one in late])
    every = claimed + [one.job.id for one in late]
    assert len(every) == len(set(every)) == 130
    assert set(states(store, workflow).values()) == {State.COMPLETED}


only_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def details(store, statement: str, **values: object) -> str:
    rows = store._driver.connection.execute("EXPLAIN QUERY PLAN " + written_for_sqlite(statement), values).fetchall()
    return "; ".join(row[3] for row in rows)


@only_sqlite
def test_turns_that_follow_each_other_keep_their_compiled_statements(store):
    statements: list[str] = []
    store._driver.connection.set_trace_callback(statements.append)
    for _ in range(3):
        with store.turn(1) as archive:
            archive.queue.next_attempt()
    assert sum("BEGIN" in one for one in statements) == 3
    assert sum("query_only" in one for one in statements) <= 1  # each makes SQLite compile every statement again


@only_sqlite
def test_claims_read_the_index_of_what_is_ready_in_its_order(store):
    from rekindle.store.queue import SQL

    values = {"workflow": 1, "resource_class": None, "host": "", "limit": 5, "stopped": "[]", "skipped": "[]"}
    for scope, index, terms in (
        ("any_workflow", "job_ready_by_class", "resource_class"),
        ("one_workflow", "job_ready", "workflow=? AND resource_class"),
    ):
        text = SQL["ready"].text.replace("{joins}", "").replace("{where}", "1 = 1").replace("{scope}", SQL[scope].text)
        told = details(store, text, **values).split("; ")
        assert f"SEARCH job USING INDEX {index} ({terms}>?)" in told  # from one class to the next
        assert f"SEARCH job USING INDEX {index} ({terms}=?)" in told
        assert [line for line in told if "TEMP B-TREE" in line] == told[-1:]  # only of the result
        narrowed = SQL["ready_in_class"].text.replace("class.id", ":resource_class").replace("{columns}", "")
        text = narrowed.replace("{joins}", "").replace("{where}", "1 = 1").replace("{scope}", SQL[scope].text)
        told = details(store, text, **{**values, "resource_class": 1}).split("; ")
        assert f"SEARCH job USING INDEX {index} ({terms}=?)" in told
        assert [line for line in told if "TEMP B-TREE" in line] == []


def test_claims_of_a_store_from_before_the_index_of_classes_read_it_too(tmp_path):
    older_store(tmp_path / "s", 3).close()
    upgraded = open_store(str(tmp_path / "s"), create=False)
    submit(upgraded, {"a": [], "b": []})
    test_claims_read_the_index_of_what_is_ready_in_its_order(upgraded)
    with upgraded.read() as archive:
        assert [one.name for one in archive.queue.ready(None, 9)] == ["a", "b"]
    upgraded.close()


@only_sqlite
def test_the_next_delay_is_found_without_a_look_at_the_jobs_that_have_none(store):
    from rekindle.store.queue import SQL

    for name in ("next_due", "next_due_of_one"):
        assert "job USING INDEX job_delayed (not_before>?)" in details(store, SQL[name].text, workflow=1, now=0.0)


@only_sqlite
def test_active_and_failed_attempts_are_found_by_index(store):
    from rekindle.store.attempts import SQL

    assert "attempt_active" in details(store, SQL["active_of_runner"].text, runner=1)
    told = details(store, SQL["failures_of_workflow"].text, workflow=1, archived=False)
    assert "attempt USING COVERING INDEX attempt_failed" in told
    assert "USING COVERING INDEX attempt_failed" in details(store, SQL["failures"].text, archived=True)


@only_sqlite
def test_a_status_reads_counts_and_no_jobs(store):
    from rekindle.store.workflows import SQL

    for name in ("counts_of_one", "counts_of_all", "workflow_by_id", "span"):
        told = details(store, SQL[name].text, workflow=1, id=1)
        assert " job" not in told.replace("workflow", "")
        assert "attempt" not in told


@only_sqlite
def test_failed_jobs_are_selected_by_their_index(store):
    from rekindle.store.predicates import compile_selection

    with store.read() as archive:
        compiled = compile_selection(Compare("state", Op.EQ, F), 1, archive.database, retired=False)
    assert "job_ended_badly" in details(store, compiled.text, **compiled.values)


def test_ready_jobs_of_each_class_match_a_condition_that_python_decides(store):
    from rekindle.domain.definition import JobTemplate, Resources, Step
    from rekindle.domain.selection import AllOf, Not

    names = [f"job{at}" for at in range(40)]
    large = JobTemplate("large", (Step("one", run="true"),), resources=Resources(cpus=2))
    workflow = submit(
        store,
        {name: [] for name in names},
        bindings={name: {"k": at % 3} for at, name in enumerate(names)},
        template=dict.fromkeys(names[::2], large),
    )
    odd = AllOf((Compare("matrix.k", Op.EQ, 1), Not(Compare("name", Op.REGEX, "[16]$"))))
    with store.read() as archive:
        every = archive.queue.ready(workflow, 100)
        found = archive.queue.ready(workflow, 2, only=odd)
    matching = [job for job in every if int(job.name[3:]) % 3 == 1 and job.name[-1] not in "16"]
    wanted: dict[int, list[str]] = {}
    for job in matching:
        wanted.setdefault(job.resource_class, []).append(job.name)
    assert len(wanted) == 2
    assert sorted(job.name for job in found) == sorted(name for names in wanted.values() for name in names[:2])
