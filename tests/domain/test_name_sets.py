"""Sets of names as products of values."""

from __future__ import annotations

import itertools
import time
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.texts.name_sets import NameIndex, NameSet

KEYS = st.lists(st.sampled_from(["a", "b", "seed", "model"]), min_size=1, max_size=4, unique=True)
VALUES = st.sampled_from(["0", "1", "2", "10", "0.5", "x", "x,y", "", "[1]", "é"])


@st.composite
def matrix_names(draw: st.DrawFn) -> list[str]:
    base, keys = draw(st.sampled_from(["train", "t", ""])), draw(KEYS)
    rows = draw(st.sets(st.tuples(*(VALUES for _ in keys)), max_size=40))
    return [f"{base}[{','.join(f'{key}={value}' for key, value in zip(keys, row, strict=True))}]" for row in rows]


NAMES = st.lists(matrix_names() | st.lists(st.text(alphabet="ab[]=,01", max_size=12), max_size=4), max_size=4).map(
    lambda several: list(itertools.chain.from_iterable(several))
)


def factor_names(names: list[str], every: list[str] = []) -> list[NameSet]:  # noqa: B006
    return NameIndex(every).factor(names)


@given(NAMES, NAMES)
def test_the_sets_have_exactly_the_names_of_themselves(names: list[str], others: list[str]) -> None:
    """Without an index each key has its values."""
    found = factor_names(names)
    expanded = [row for one in found for row in itertools.product(*(values for _, values in one.values))]
    assert len(expanded) == len(set(names))
    assert [name for name in names if sum(one.has(name) for one in found) != 1] == []
    assert [name for name in set(others) - set(names) if any(one.has(name) for one in found)] == []


@given(NAMES, st.randoms(use_true_random=False))
def test_the_sets_have_exactly_the_chosen_names_of_the_index(every: list[str], random: Random) -> None:
    chosen = {name for name in every if random.random() < 0.5}
    found = factor_names(list(chosen), every)
    assert {name for name in every if any(one.has(name) for one in found)} == chosen


@given(st.sets(VALUES, min_size=1), st.sets(VALUES, min_size=1), st.sets(VALUES, min_size=1), st.randoms())
def test_a_whole_product_is_one_set(a: set[str], b: set[str], c: set[str], random: Random) -> None:
    names = [f"t[a={x},b={y},c={z}]" for x, y, z in itertools.product(a, b, c)]
    random.shuffle(names)
    (found,) = factor_names(names)
    assert {key: set(values) for key, values in found.values} == {"a": a, "b": b, "c": c}


def test_numbers_are_in_order() -> None:
    (found,) = factor_names(["t[s=10]", "t[s=9]", "t[s=2]"])
    assert found.values == (("s", ("2", "9", "10")),)


def test_two_products_that_share_a_value_are_two_sets() -> None:
    names = [f"t[m=b,s={seed}]" for seed in (3, 7, 8)] + ["t[m=a,s=7]", "t[m=c,s=7]"]
    assert len(factor_names(names)) == 2


GRID = [f"t[m={model},s={seed},k=1]" for model in "abc" for seed in range(20)]


def test_values_that_restrict_nothing_are_left_out() -> None:
    assert factor_names(["t[m=a,s=7,k=1]", "t[m=b,s=7,k=1]", "t[m=c,s=7,k=1]"], GRID)[0].values == (("s", ("7",)),)
    assert factor_names(["t[m=b,s=3,k=1]", "t[m=b,s=8,k=1]"], GRID)[0].values == (("m", ("b",)), ("s", ("3", "8")))
    assert factor_names(GRID, GRID) == [NameSet("t", ("m", "s", "k"))]


def test_of_values_that_belong_together_one_is_enough() -> None:
    zipped = [f"t[size={size},memory={size}G]" for size in range(9)]
    (found,) = factor_names(zipped[2:5], zipped)
    assert found.values == (("size", ("2", "3", "4")),)


def test_a_hundred_thousand_names_take_seconds_at_most() -> None:
    grid = [f"t[m={m},s={s},d={d}]" for m in range(10) for s in range(1000) for d in range(10)]
    diagonal = [f"t[m={number},s={number},d={number}]" for number in range(100_000)]
    for names, sets in ((grid, 1), (grid[1:], 3), (diagonal, 100_000)):
        began = time.process_time()
        assert len(factor_names(names)) == sets
        assert time.process_time() - began < 10
