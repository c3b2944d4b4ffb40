from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.graph import descendants, find_cycle, nearest_start, topological_order

edge_lists = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=25, unique=True)
    )
)


@given(edge_lists)
def test_a_cycle_is_found_exactly_when_the_order_is_incomplete(graph):
    n, edges = graph
    order = topological_order(n, edges)
    cycle = find_cycle(n, edges)
    place = {node: position for position, node in enumerate(order)}
    assert len(place) == len(order)
    assert all(place[parent] < place[child] for parent, child in edges if child in place)
    if cycle is None:
        assert len(order) == n
    else:
        assert len(order) < n
        assert len(set(cycle)) == len(cycle)
        assert cycle[0] == min(cycle)
        assert all(step in edges for step in pairwise([*cycle, cycle[0]]))


def test_a_job_that_needs_itself_is_a_cycle_of_one():
    assert find_cycle(3, [(0, 1), (1, 1)]) == [1]


def test_nodes_behind_a_cycle_are_not_named():
    assert find_cycle(5, [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)]) == [1, 2, 3]


def test_a_graph_without_edges_is_in_order_already():
    assert topological_order(3, []) == [0, 1, 2]
    assert find_cycle(0, []) is None


def test_a_cycle_through_every_node_of_a_long_chain_is_found():
    n = 100_000  # a hundred times the depth at which recursion fails
    edges = [(node, node + 1) for node in range(n - 1)]
    assert find_cycle(n, edges) is None
    assert find_cycle(n, [*edges, (n - 1, 0)]) == list(range(n))


@given(edge_lists, st.data())
def test_nearest_start_agrees_with_walking_from_each_start(graph, data):
    n, edges = graph
    dag = sorted({(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]})
    children = {node: [child for parent, child in dag if parent == node] for node in range(n)}
    starts = data.draw(st.sets(st.integers(0, n - 1)))
    far = {start: _distances(children, start) for start in starts}
    expected = {}
    for node in range(n):
        reaching = [(far[start][node], start) for start in starts if far[start].get(node)]
        if reaching:
            expected[node] = min(reaching)[1]
    assert nearest_start(children, starts) == expected
    assert descendants(children, starts) == expected.keys()


def _distances(children, start):
    distance = {start: 0}
    queue = [start]
    for node in queue:
        for child in children[node]:
            if child not in distance:
                distance[child] = distance[node] + 1
                queue.append(child)
    return distance


def test_a_walk_stays_within_the_nodes_given():
    children = {1: [2, 3], 2: [4], 3: [5]}
    assert nearest_start(children, [1], within={2, 4, 5}) == {2: 1, 4: 1}
