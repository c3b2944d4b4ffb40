"""Folding groups of a graph until there are few enough to draw."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.graph_folding import find_blocks, find_joints, fold


@st.composite
def groups(draw):
    n = draw(st.integers(0, 40))
    names = [f"{draw(st.sampled_from(['fit', 'plot', 'a b']))}_{number}" for number in range(n)]
    ends = st.integers(0, max(n - 1, 0))
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=60 if n else 0))
    return names, [(min(pair), max(pair)) for pair in pairs if len(set(pair)) == 2]


@given(groups(), st.integers(1, 12))
def test_there_are_at_most_as_many_folds_as_the_limit_and_no_cycle_among_them(graph, limit):
    names, edges = graph
    folds = fold(names, edges, limit)
    assert len(folds) == len(names)
    assert len(set(folds)) <= limit
    between = {(folds[a], folds[b]) for a, b in edges if folds[a] != folds[b]}
    while between:  # take away the folds that no edge leads to
        targets = {b for _, b in between}
        left = {(a, b) for a, b in between if a in targets}
        assert len(left) < len(between)
        between = left


def test_few_groups_stay_by_themselves():
    assert fold(["a", "b"], [(0, 1)], 2) == ["a", "b"]


def test_groups_of_a_layer_are_folded_by_their_names_without_numbers():
    names = ["start", *(f"fit_{number}" for number in range(50)), *(f"plot_{number:03}" for number in range(50))]
    edges = [(0, number) for number in range(1, 51)] + [(number, number + 50) for number in range(1, 51)]
    assert fold(names, edges, 10) == ["start"] + 50 * ["layer 2: fit_#"] + 50 * ["layer 3: plot_#"]


def test_a_long_chain_is_folded_into_consecutive_layers():
    names = [f"step{number}" for number in range(1_000)]
    folds = fold(names, list(pairwise(range(1_000))), 10)
    assert folds[0] == "layers 1-100"
    assert folds[-1] == "layers 901-1000"


def test_an_open_fold_shows_urgent_groups_first_and_no_more_than_are_asked_for():
    names = [f"fit_{number}" for number in range(50)]
    folds = fold(names, [], 10, {"layer 1: fit_#"}, 3, {"fit_7", "fit_9"})
    assert [name for name in folds if name != "layer 1: fit_#"] == ["fit_0", "fit_7", "fit_9"]


def test_nodes_with_the_same_group_parents_and_children_are_a_block():
    groups = {**dict.fromkeys("abc", "x"), **dict.fromkeys("de", "y"), "f": "x"}
    edges = [("start", node) for node in "abcdef"] + [("f", "end")]
    assert find_blocks(groups, edges, 2) == [["a", "b", "c"], ["d", "e"]]
    assert find_blocks(groups, edges, 3) == [["a", "b", "c"]]


@given(groups(), st.integers(2, 6))
def test_joined_edges_exist_and_are_joined_once(graph, at_least):
    names, pairs = graph
    edges = {(names[a], names[b]) for a, b in pairs} | {(f"s{a}", f"t{b}") for a in range(3) for b in range(4)}
    joined = [
        (source, target)
        for sources, targets in find_joints({name: name[:3] for name in names}, edges, at_least)
        for source in sources
        for target in targets
    ]
    assert len(joined) == len(set(joined))
    assert set(joined) <= edges
    assert {edge for edge in edges if edge[0][0] == "s"} <= set(joined)


def test_targets_may_have_other_parents_beside_the_joined_ones():
    edges = [(a, b) for a in ("a1", "a2") for b in ("b1", "b2")] + [("own", "b1")]
    assert find_joints({"a1": "a", "a2": "a"}, edges, 4) == [(["a1", "a2"], ["b1", "b2"])]
