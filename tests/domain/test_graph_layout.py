"""The layout of graphs: edges lead to the right, nothing overlaps, and no edge crosses a box."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.graph_layout import COLUMN_GAP, MARGIN, ROW_GAP, Box, Layout, lay_out

SIZES = [(200, 44), (240, 64), (90, 30), (500, 201)]


@st.composite
def graphs(draw, *, cycles=False):
    """Boxes and edges; without `cycles`, from lower to higher numbers. Few edges leave parts that are not connected."""
    n = draw(st.integers(0, 24))
    boxes = [Box(f"n{number}", *draw(st.sampled_from(SIZES))) for number in range(n)]
    numbers = st.integers(0, max(0, n - 1))
    pairs = draw(st.lists(st.tuples(numbers, numbers), max_size=50 if n else 0))
    shuffled = draw(st.permutations(range(n)))
    edges = [(shuffled[a], shuffled[b]) for a, b in (pairs if cycles else map(sorted, pairs)) if cycles or a != b]
    return boxes, [(f"n{a}", f"n{b}") for a, b in edges]


def boxes_of(boxes: list[Box], layout: Layout) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box."""
    corners = ((box, layout.positions[box.id]) for box in boxes)
    return {box.id: (x, y, x + box.width, y + box.height) for box, (x, y) in corners}


def overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(graphs())
def test_every_edge_of_a_graph_without_cycles_leads_to_the_right(graph):
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    areas = boxes_of(boxes, layout)
    assert {(route.source, route.target) for route in layout.routes} == set(edges)
    for route in layout.routes:
        assert not route.backward
        assert layout.layers[route.source] < layout.layers[route.target]
        assert areas[route.source][2] + COLUMN_GAP <= areas[route.target][0]


@given(graphs(cycles=True))
def test_all_boxes_are_placed_within_the_picture_and_none_overlap(graph):
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    areas = boxes_of(boxes, layout)
    assert set(areas) == {box.id for box in boxes}
    for left, top, right, bottom in areas.values():
        assert left >= MARGIN
        assert top >= MARGIN
        assert right <= layout.width - MARGIN
        assert bottom <= layout.height - MARGIN
    for (_, one), (_, other) in combinations(areas.items(), 2):
        grown = (one[0], one[1] - ROW_GAP, one[2], one[3] + ROW_GAP)
        assert not overlap(grown, other)


@given(graphs(cycles=True))
def test_edges_begin_and_end_at_their_boxes_and_cross_none(graph):
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    areas = boxes_of(boxes, layout)
    assert {(route.source, route.target) for route in layout.routes} == {(a, b) for a, b in edges if a != b}
    for route in layout.routes:
        start, end = areas[route.source], areas[route.target]
        assert route.points[0] == (start[2], (start[1] + start[3]) / 2)
        assert route.points[-1] == (end[0], (end[1] + end[3]) / 2)
        for (x, y), (to_x, to_y) in pairwise(route.points):  # a curve stays within the corners of its ends
            part = (min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))
            assert 0 <= part[0] <= part[2] <= layout.width
            assert 0 <= part[1] <= part[3] <= layout.height
            assert not any(overlap(part, area) for area in areas.values())


@given(graphs(cycles=True))
def test_equal_graphs_have_equal_layouts(graph):
    boxes, edges = graph
    assert lay_out(boxes, edges) == lay_out([*boxes], [*edges, *edges])


@given(graphs(cycles=True))
def test_an_edge_is_backward_only_where_it_closes_a_cycle(graph):
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    forward = [(route.source, route.target) for route in layout.routes if not route.backward]
    assert all(layout.layers[a] < layout.layers[b] for a, b in forward)
    below: dict[str, list[str]] = {}
    for a, b in edges:
        below.setdefault(a, []).append(b)
    for route in layout.routes:
        if route.backward:
            reached, level = {route.target}, [route.target]
            for node in level:
                new = set(below.get(node, ())) - reached
                reached |= new
                level += sorted(new)
            assert route.source in reached


def test_an_empty_graph_is_a_margin():
    layout = lay_out([], [])
    assert (layout.width, layout.height, layout.positions, layout.routes) == (2 * MARGIN, 2 * MARGIN, {}, ())


def test_a_single_box_has_a_margin_around_it():
    layout = lay_out([Box("a", 100, 40)], [("a", "a")])
    assert layout.positions == {"a": (MARGIN, MARGIN)}
    assert (layout.width, layout.height, layout.routes) == (100 + 2 * MARGIN, 40 + 2 * MARGIN, ())


def test_a_straight_chain_stays_on_one_line():
    layout = lay_out([Box(name, 100, 40) for name in "abcd"], [("a", "b"), ("b", "c"), ("c", "d")])
    assert {y for _, y in layout.positions.values()} == {MARGIN}


def test_what_fans_out_and_in_is_in_the_middle():
    middle = [f"m{number}" for number in range(5)]
    edges = [(a, b) for name in middle for a, b in (("first", name), (name, "last"))]
    layout = lay_out([Box(name, 100, 40) for name in ("first", "last", *middle)], edges)
    assert layout.positions["first"][1] == layout.positions["last"][1] == layout.positions["m2"][1]


def test_two_crossing_pairs_are_ordered_so_that_they_do_not_cross():
    boxes = [Box(name, 100, 40) for name in "abcd"]
    layout = lay_out(boxes, [("a", "d"), ("b", "c"), ("a", "d")])
    assert all(len({y for _, y in route.points}) == 1 for route in layout.routes)


def test_parts_that_are_not_connected_are_below_each_other():
    boxes = [Box(f"{part}{number}", 100, 40) for part in "ab" for number in range(6)]
    edges = [(f"{part}0", f"{part}{number}") for part in "ab" for number in range(1, 6)]
    areas = boxes_of(boxes, lay_out(boxes, edges))
    lowest = max(area[3] for name, area in areas.items() if name[0] == "a")
    assert all(area[1] >= lowest + ROW_GAP for name, area in areas.items() if name[0] == "b")


@pytest.mark.parametrize("ring", [False, True])
def test_a_chain_of_5000_is_laid_out(ring):
    boxes = [Box(str(number), 100, 40) for number in range(5_000)]
    layout = lay_out(boxes, [*pairwise(box.id for box in boxes), *([("4999", "0")] if ring else [])])
    assert [layout.layers[box.id] for box in boxes] == list(range(5_000))
    assert sum(route.backward for route in layout.routes) == ring


def test_edges_past_thousands_of_columns_go_below_them():
    """5,000 boxes in a chain, all needing the first and needed by the last: 25 million columns would be passed."""
    boxes = [Box(str(number), 100, 40) for number in range(5_000)]
    chain = list(pairwise(box.id for box in boxes))
    hubs = [("0", box.id) for box in boxes[2:]] + [(box.id, "4999") for box in boxes[1:-2]]
    layout = lay_out(boxes, [*chain, *hubs])
    assert sum(len(route.points) for route in layout.routes) < 200_000
    areas = boxes_of(boxes, layout)
    bottom = max(area[3] for area in areas.values())
    assert max(y for route in layout.routes for _, y in route.points) > bottom
    for route in random.Random(1).sample(layout.routes, 50):
        for (x, y), (to_x, to_y) in pairwise(route.points):
            part = (min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))
            assert not any(overlap(part, area) for area in areas.values())
