"""Plans printed as trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from cli_shell import Shell

from rekindle.domain.rerun.plan import PlannedJob, planned_jobs
from rekindle.domain.states import State
from rekindle.presentation.plans import tree_lines


def planned(number: int, name: str, after: State = State.WAITING) -> PlannedJob:
    return PlannedJob(number, name, 0, State.COMPLETED, after, "beginning", ())


def drawn(names: Sequence[str], children: Mapping[int, Sequence[int]], fold: bool = True) -> list[str]:
    jobs = [planned(number, name) for number, name in enumerate(names)]
    found = tree_lines(planned_jobs(jobs), children, (lambda job: job.after) if fold else None)
    return [line.name + (" (see above)" if line.again else "") for line in found]


def test_what_follows_stands_below_and_only_once() -> None:
    assert drawn("abcd", {0: [1, 2], 1: [3], 2: [3]}) == [
        "a",
        "├─ b",
        "│  └─ d",
        "└─ c",
        "   └─ d (see above)",
    ]


def test_a_child_that_was_met_deeper_is_not_drawn_again() -> None:
    assert drawn("abc", {0: [1, 2], 1: [2]}) == ["a", "├─ b", "│  └─ c", "└─ c (see above)"]


def test_jobs_outside_the_plan_are_no_branches() -> None:
    assert drawn("ab", {0: [1, 7]}) == ["a", "└─ b"]


def test_similar_jobs_are_folded_with_what_follows_from_any_of_them() -> None:
    names = ["t[a=1]", "t[a=2]", "t[a=3]", "e[a=1]", "e[a=2]", "e[a=3]"]
    assert drawn(names, {0: [3], 1: [4], 2: [5]}) == ["t[*] ×3", "└─ e[*] ×3"]
    assert len(drawn(names, {0: [3], 1: [4], 2: [5]}, fold=False)) == 6


def test_jobs_that_look_different_are_not_folded() -> None:
    jobs = [planned(number, f"j{number}", State.READY if number % 2 else State.WAITING) for number in range(6)]
    assert [line.name for line in tree_lines(planned_jobs(jobs), {}, lambda job: job.after)] == ["j* ×3", "j* ×3"]


def test_a_long_chain_stays_narrow_and_does_not_recurse() -> None:
    found = drawn([f"job {chr(97 + number % 26)}" for number in range(5000)], {n: [n + 1] for n in range(4999)})
    assert len(found) == 5000
    assert max(map(len, found)) < 40


def test_children_that_stand_above_are_one_line_even_when_nothing_is_folded() -> None:
    names = ["a", "b", "x1", "x2", "x3"]
    assert drawn(names, {0: [2, 3, 4], 1: [2, 3, 4]}, fold=False)[4:] == ["b", "└─ x* ×3 (see above)"]


@pytest.mark.parametrize(
    ("number", "line"), [(3, "overwrites o/0, o/1, o/2"), (4, "overwrites 4 files (-v lists them)")]
)
def test_few_overwritten_files_are_named_and_many_counted(shell: Shell, number: int, line: str) -> None:
    shell.write(f"""
        name: many
        jobs:
          m:
            matrix: {{i: {{range: [0, {number}]}}}}
            outputs: {{o: "o/${{matrix.i}}"}}
            run: mkdir -p o; echo > ${{outputs.o}}
        """)
    assert shell("run", "spec.yaml", "-j", "2").code == 0
    assert f"\n{line}\n" in shell("rerun", "--all", "--dry-run").out
    listed = "".join(f"  o/{index}\n" for index in range(number))
    assert f"\noverwrites:\n{listed}\n" in shell("rerun", "--all", "--dry-run", "-v").out
