"""The harness of the benchmarks: medians, ratios, exponents, history and the page of results. No time is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from benchmarks import __main__ as program
from benchmarks import commands, harness, history
from benchmarks.harness import (
    Measurement,
    Result,
    Row,
    Sample,
    Samples,
    Target,
    Unavailable,
    at_least,
    at_most,
    beside,
    memory,
)
from benchmarks.peers import tools, work
from benchmarks.report import judged, page, shown, text

ROOT = Path(__file__).resolve().parents[2]

SECONDS = Measurement("ours", "s", (3.0, 1.0, 2.0), (4.0, 5.0, 6.0), (70, 80, 90), (at_most(1.5, times="bare"),))
BARE = Measurement("bare", "s", (1.0, 9.0, 1.0))


def result(date: str = "2026-11-30T12:00:00Z", **more: object) -> Result:
    given = {"row": "submit", "about": "submit jobs", "commit": "abc", "machine": "2 × CPU", "load": 0.1, "size": 100}
    given |= {"sizes": (100,), "rounds": 3, "measurements": (SECONDS, BARE), "date": date} | more
    return Result(**given)  # type: ignore[arg-type]


def test_the_value_is_the_median_of_the_rounds() -> None:
    assert SECONDS.value == 2.0
    assert Measurement("even", "s", (1.0, 2.0)).value == 1.5


@pytest.mark.parametrize(
    ("target", "quantity", "met"),
    [
        (at_most(2.0), 2.0, True),
        (at_most(1.9), 2.0, False),
        (at_least(2.0), 2.0, True),
        (at_least(2.1), 2.0, False),
        (at_most(2.0, times="bare"), 2.0, True),
        (at_least(2.5, times="bare"), 2.0, False),
        (beside("bare"), 2.0, None),
        (memory(80), 80, True),
        (memory(79), 80, False),
        (harness.processor(4.9), 5.0, False),
        (Target("exponent", most=1.1), None, None),
        (at_most(1.0, times="missing"), None, None),
    ],
)
def test_a_target_limits_a_median_or_a_ratio_of_medians(
    target: Target, quantity: float | None, met: bool | None
) -> None:
    found = SECONDS.quantity(target, {"ours": SECONDS, "bare": BARE})
    assert found == quantity
    assert (None if found is None else target.met(found)) is met


def test_operations_are_measured_in_turn_and_keep_the_sample_that_they_return() -> None:
    order = []

    def operation(name: str, wall: float) -> Sample:
        order.append(name)
        return Sample(wall * len(order), 1.0, 50)

    samples = harness.in_turn(2, ("a", lambda: operation("a", 1.0)), ("b", lambda: operation("b", 2.0)))
    assert order == ["a", "b", "a", "b"]
    a, b = samples.seconds({"a": [beside("b")]})
    assert (a.values, a.processor, a.memory, a.targets) == ((1.0, 3.0), (1.0, 1.0), (50, 50), (beside("b"),))
    assert b.values == (4.0, 8.0)
    assert samples.rates(12)[0].values == (12.0, 4.0)


def test_an_operation_that_returns_no_sample_is_measured_around_the_call() -> None:
    samples = Samples()
    assert samples.take("sum", lambda: sum(range(10))) == 45
    (one,) = samples.seconds()
    assert one.values[0] > 0
    assert one.memory == ()


def test_a_target_of_an_operation_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="not measured: missing"):
        Samples().seconds({"missing": [at_most(1.0)]})


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    assert harness.exponent({size: 3 * size**power for size in (10**4, 10**5, 10**6)}) == pytest.approx(power)


def test_the_exponent_of_n_log_n_is_that_of_its_end_points() -> None:
    assert harness.n_log_n(10**4, 10**6) == pytest.approx(1 + math.log(1.5) / math.log(100))


def test_growth_is_fitted_over_the_sizes_and_judged_against_n_log_n() -> None:
    calls = []

    def quadratic(count: int, rounds: int) -> list[Measurement]:
        calls.append((count, rounds))
        return [Measurement("time", "s", (count**2.0,)), Measurement("rate", "/s", (1000.0,))]

    row = Row("grows", "", quadratic, (10, 100, 1000), (10,), rounds=5, growth_rounds=2)
    time, rate = harness.measure(row, row.sizes, 100, 5)
    assert calls == [(10, 2), (100, 5), (1000, 2)]
    assert time.values == (10_000.0,)
    assert (time.exponent, rate.exponent) == (pytest.approx(2.0), pytest.approx(1.0))
    assert [one.met(time.exponent or 0) for one in time.targets] == [False]
    assert [one.met(rate.exponent or 0) for one in rate.targets] == [True]


def test_percentiles_are_values_that_were_measured() -> None:
    assert harness.percentile(range(1, 101), 99) == 99
    assert harness.percentile([5.0, 1.0, 3.0], 50) == 3.0
    assert harness.percentile([7.0], 99) == 7.0


def test_a_command_is_measured_with_its_exit_code_and_not_with_the_memory_of_this_process(tmp_path: Path) -> None:
    ballast = bytearray(150_000_000)
    sample = commands.command(["sh", "-c", "exit 3"], tmp_path, expect=3)
    assert 0 < sample.memory < len(ballast)
    with pytest.raises(harness.CommandFailed, match="ended with 3, not 0: said"):
        commands.command(["sh", "-c", "echo said >&2; exit 3"], tmp_path)
    with pytest.raises(harness.CommandFailed, match="no-such-program"):
        commands.command(["no-such-program"], tmp_path)


def test_a_history_holds_what_was_measured_in_readable_numbers(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.jsonl"
    one = result(measurements=(Measurement("a", "s", (1 / 3, 12345.678), (0.1,), (5,), (at_most(2.0, times="b"),)),))
    history.append(path, [one])
    history.append(path, [result("2026-12-01T12:00:00Z", unavailable="not installed")])
    assert "0.33333,12346.0" in path.read_text()
    first, second = history.read(path)
    assert first.measurements[0].targets == (at_most(2.0, times="b"),)
    assert (second.date, second.unavailable) == ("2026-12-01T12:00:00Z", "not installed")
    assert history.read(tmp_path / "none.jsonl") == []


def test_a_run_is_compared_with_the_last_one_of_the_same_machine_and_size() -> None:
    now = result("2026-11-30T12:00:00Z")
    past = [
        result("2026-11-28T12:00:00Z"),
        result("2026-11-29T12:00:00Z", commit="last"),
        result("2026-11-29T13:00:00Z", machine="other"),
        result("2026-11-29T13:00:00Z", size=10),
        result("2026-11-29T13:00:00Z", unavailable="not installed"),
        now,
    ]
    found = history.before(past, now)
    assert found is not None
    assert found.commit == "last"
    assert history.before([now], now) is None


def test_the_newest_complete_result_of_each_row_is_published() -> None:
    results = [
        result("2026-11-28T12:00:00Z"),
        result("2026-11-29T12:00:00Z", commit="new"),
        result("2026-11-30T12:00:00Z", quick=True),
        result("2026-11-30T12:00:00Z", unavailable="not installed"),
        result("2026-11-30T12:00:00Z", row="slurm", unavailable="not installed"),
    ]
    found = history.newest(results)
    assert [(one.row, one.commit, one.unavailable) for one in found.values()] == [
        ("slurm", "abc", "not installed"),
        ("submit", "new", ""),
    ]


def test_publishing_adds_each_new_result_of_this_machine_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LOCAL", tmp_path / "local.jsonl")
    monkeypatch.setattr(history, "PUBLISHED", tmp_path / "published")
    history.append(history.LOCAL, [result(), result(machine="other", row="calls"), result(row="startup", quick=True)])
    path = history.publish("2 × CPU")
    assert path is not None
    assert [one.row for one in history.read(path)] == ["submit"]
    assert history.publish("2 × CPU") is None
    history.append(history.LOCAL, [result("2026-12-01T12:00:00Z")])
    assert history.publish("2 × CPU") == path
    assert [one.date for one in history.published()] == ["2026-11-30T12:00:00Z", "2026-12-01T12:00:00Z"]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0000123, "s", "12.3 µs"),
        (0.0123, "s", "12.3 ms"),
        (1.234, "s", "1.23 s"),
        (1953.4, "/s", "1,953 /s"),
        (61_700_000, "B", "62 MB"),
        (3.0, "", "3.00"),
    ],
)
def test_values_are_shown_with_three_digits_and_a_unit(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def test_a_result_says_whether_its_targets_are_met_and_what_has_changed() -> None:
    one = result()
    assert judged(SECONDS, SECONDS.targets[0], one.by_name) == "2.00 times bare; at most 1.5: short"
    bare = msgspec.structs.replace(BARE, processor=(2.0, 2.5, 9.0))
    words = judged(SECONDS, SECONDS.targets[0], {"ours": SECONDS, "bare": bare})
    assert words == "2.00 times bare (2.00 times its processor time); at most 1.5: short"
    slower = result(measurements=(msgspec.structs.replace(SECONDS, values=(4.0,)), BARE))
    lines = text(slower, one)
    assert "4.00 times bare; at most 1.5: short" in lines
    assert "2.00 of 2.00 s; ratio to bare 4.00, then 2.00" in lines


def test_what_is_not_installed_is_listed_with_the_reason() -> None:
    missing = Measurement("peer", "/s", (), note="not measured: it is not installed")
    one = result(measurements=(SECONDS, missing))
    assert "peer" in text(one, one)
    assert "| peer | | | | not measured: it is not installed |" in page([one])
    assert "Not measured: no Slurm." in page([result(unavailable="no Slurm")])


def test_the_page_begins_with_the_targets_and_ends_with_the_peers() -> None:
    text = page([result(row="peer-calls", about="others"), result(row="submit")])
    assert "| submit | ours | 2.00 times bare | at most 1.5 | short |" in text
    assert text.index("## Targets") < text.index("## Submit jobs") < text.index("## Others")


def test_peers_that_cannot_be_measured_are_listed_and_slow_ones_do_fewer_jobs() -> None:
    begun = []

    def peer(name: str, most: int = 10**7, error: Exception | None = None) -> tools.Peer:
        def begin(folder: Path, count: int, _: ExitStack) -> Callable[[], Sample]:
            begun.append((name, count, folder.is_dir()))
            if error is not None:
                raise error
            return lambda: Sample(count / 100, 1.0)

        return tools.Peer(name, "", begin, most)

    failed = harness.CommandFailed("it ended with 1: first line\nlast line")
    peers = [peer("ours"), peer("slow", most=50), peer("broken", error=failed), peer("gone", error=Unavailable("gone"))]
    ours, slow, broken, gone = tools.measure(peers, 200, 2, fresh=True, rates=True)
    assert (ours.values, ours.targets) == ((100.0, 100.0), ())
    assert (slow.values, slow.targets, slow.note) == ((100.0, 100.0), (beside("ours"),), "50 jobs")
    assert (broken.values, broken.note, gone.note) == ((), "not measured: last line", "not measured: gone")
    assert begun.count(("ours", 200, True)) == 2
    assert begun.count(("broken", 200, True)) == 1
    begun.clear()
    ours, slow, *_ = tools.measure(peers[:2], 200, 3, fresh=False, rates=False)
    assert begun == [("ours", 200, True), ("slow", 50, True)]
    assert (slow.values, slow.targets) == ((0.5, 0.5, 0.5), ())


def test_slow_peers_take_one_round_of_three_and_are_left_out_of_sizes_that_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(tools.time, "perf_counter", lambda: now[0])
    begun = []

    def peer(name: str, seconds: float, *, slow: bool = False, broken: bool = False) -> tools.Peer:
        def begin(_: Path, count: int, __: ExitStack) -> Callable[[], Sample]:
            begun.append((name, count))
            now[0] += seconds * count  # the preparation
            if broken:
                raise harness.CommandFailed("it ended with 1")
            return lambda: Sample(float(count), 1.0)

        return tools.Peer(name, "", begin, slow=slow)

    peers = [
        peer("ours", 0.1),
        peer("slow", 0.3, slow=True),
        peer("late", 1.0, slow=True),
        peer("bad", 0.0, broken=True),
    ]
    found = tools.measure_sizes(peers, (10, 100), 3, 50.0)
    assert [(one.name, one.values) for one in found] == [
        ("ours, 10 jobs", (10.0,) * 3),
        ("slow, 10 jobs", (10.0,)),
        ("late, 10 jobs", (10.0,)),
        ("bad, 10 jobs", ()),
        ("ours, 100 jobs", (100.0,) * 3),
        ("slow, 100 jobs", (100.0,)),
        ("late, 100 jobs", ()),
        ("bad, 100 jobs", ()),
    ]
    assert found[5].targets == (beside("ours, 100 jobs"),)
    assert found[6].note == "not measured: 10 jobs took 10 s with their preparation"
    assert ("late", 100) not in begun
    assert begun.count(("slow", 10)) == 1


def test_the_page_marks_what_was_measured_while_other_work_ran() -> None:
    assert "while other work ran (load 7.2)" in page([result(load=7.2)])
    assert "while other work ran" not in page([result(load=0.2)])


def test_the_page_of_results_is_made_from_the_published_history() -> None:
    results = history.newest(history.published())
    assert results, "benchmarks/history has no complete result"
    assert program.PAGE.read_text() == page(results.values()), "run `make bench-table`"


ISSUE_ROWS = {
    "10,000 commands beside xargs and a bare loop": "commands",
    "10,000 calls beside a process pool": "calls",
    "a chain of 1,000 calls": "chain",
    "submit 1,000,000 jobs beside a bare insert": "submit",
    "rerun of failed jobs with many descendants": "reruns",
    "status, first page of failed jobs, failures; all jobs, streamed": "lists",
    "hold and release of half of the jobs": "holds",
    "no-op run and restart beside a bare look at the files": "stale",
    "many workflows beside one": "workflows",
    "the start of commands": "startup",
    "an idle runner, and how fast it wakes": "waking",
    "memory of a runner beside ready jobs": "ready",
    "sustained release of children": "release",
    "claims in PostgreSQL beside pgbench": "postgres",
}
"""The table of what must be fast, and the row that measures each line."""


def test_each_line_of_the_table_is_a_row_beside_what_it_is_compared_with() -> None:
    assert ISSUE_ROWS.values() - program.all_rows().keys() == set()


def test_rows_have_sizes_in_order_and_the_size_that_is_judged_is_one_of_them() -> None:
    for row in program.all_rows().values():
        assert list(row.sizes) == sorted(row.sizes), row.name
        assert row.at is None or row.at in row.sizes, row.name
        assert max(row.quick) <= max(row.sizes), row.name


def test_peers_have_one_name_each_and_begin_with_rekindle() -> None:
    every = (work.COMMANDS, work.CALLS, work.RERUNS, work.CHECKS, work.REUSE)
    for peers in every:
        names = [one.name for one in peers]
        assert len(set(names)) == len(names)
        assert names[0].startswith("rekindle")
    script = (ROOT / "scripts" / "peers").read_text()
    wanted = {one.tool for peers in every for one in peers}
    not_installed = {tool for tool in wanted if f"peer {tool} " not in script and f"{tool}:" not in script}
    assert not_installed == {"xargs"}  # in every Debian; "": this environment
