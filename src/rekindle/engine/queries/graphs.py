"""Query the graph of a workflow for a picture: its jobs, or the groups that they form, with states and progress."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import NotFound
from rekindle.domain.graph_folding import fold
from rekindle.domain.states import ENDED_BADLY, State

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot
    from rekindle.store.graphs import Part

MARKS = 300
"""The nodes of a picture, unless groups are expanded. A workflow of more jobs is drawn by groups."""

EXPANDED_MARKS = 300
"""The jobs of all expanded groups that are drawn by themselves. The others stay in their group."""

EDGES = 2_000
"""A workflow with more edges than these is drawn by groups, unless groups are expanded."""

_CALM = frozenset({State.WAITING, State.READY, State.COMPLETED})

NodeKind = Literal["job", "group", "fold"]


class GraphNode(msgspec.Struct, frozen=True):
    """A job; a group: the jobs of one template (a matrix); or a fold: the jobs of many templates."""

    id: str  # stays the same while the workflow runs
    name: str
    kind: NodeKind
    counts: Mapping[State, int]  # of its jobs, without zeros
    held: int = 0
    blocked: int = 0  # waiting jobs that cannot start, since a job above them has failed or was canceled
    subtasks: tuple[int, int] | None = None  # completed and all items of the fan-outs of live attempts
    job: int | None = None  # the id of the only job
    group: str = ""  # of a job: the group that it belongs to, if that has several jobs
    apart: int = 0  # jobs of the group that are drawn by themselves

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return sum(self.counts.values())

    @property
    def is_failed_path(self) -> bool:
        """Whether a job has failed, or waits for one that did."""
        return bool(self.counts.get(State.FAILED) or self.blocked)


class GraphEdge(msgspec.Struct, frozen=True):
    """The edges between the jobs of two nodes. With equal ends: jobs of one group need one another."""

    source: str
    target: str
    n: int


class WorkflowGraph(msgspec.Struct, frozen=True):
    """A workflow as at most MARKS nodes and the jobs that are expanded, in the order of submission. Every job that is
    not retired is in exactly one node."""

    workflow: int
    revision: int
    jobs: int
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    collapsed: bool  # jobs are in groups, but for the expanded ones
    groups: Mapping[str, str]  # the node of each template's jobs that are not drawn by themselves
    expanded: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """A text that differs once the workflow has other jobs or edges, and must be drawn again."""
        return f"{self.revision}.{self.jobs}"


def workflow_graph(
    session: Session, workflow: int, expand: frozenset[str] = frozenset(), *, collapse: bool = False
) -> WorkflowGraph:
    """Return the graph of a workflow, read in one snapshot; raise NotFound for an unknown workflow.

    Up to MARKS jobs are drawn by themselves; with `collapse`, or more jobs or EDGES, those of one template are a group.
    `expand` names the groups whose jobs are drawn by themselves nevertheless, and the folds that are left open."""
    with session.store.read() as archive:
        found = archive.workflows.find(workflow)
        if found is None:
            raise NotFound(f"no such workflow: {workflow}", hint="`rekindle workflows list` names them")
        reader = _Reader(archive, workflow)
        if reader.jobs <= MARKS and not collapse:
            reader.show_all()
            if len(edges := reader.edges()) <= EDGES:
                return WorkflowGraph(workflow, found.revision, reader.jobs, reader.nodes(), edges, False, {})
        reader.group(expand)
        edges = reader.edges()
        return WorkflowGraph(
            workflow, found.revision, reader.jobs, reader.nodes(), edges, True, reader.groups, tuple(sorted(expand))
        )


def refresh_graph(session: Session, graph: WorkflowGraph) -> WorkflowGraph | None:
    """Return the graph with the present states of the same nodes, without reading edges. Return None if the workflow
    has other jobs or another revision: `workflow_graph` is to be called again."""
    with session.store.read() as archive:
        found = archive.workflows.find(graph.workflow)
        if found is None or found.revision != graph.revision:
            return None
        reader = _Reader(archive, graph.workflow)
        reader.shown = {node.job for node in graph.nodes if node.job is not None}
        reader.groups = dict(graph.groups)
        reader.titles = {node.id: (node.kind, node.name) for node in graph.nodes}
        if reader.jobs != graph.jobs or not reader.has_places():
            return None
        nodes = reader.nodes()
    return replace(graph, nodes=nodes) if [one.id for one in nodes] == [one.id for one in graph.nodes] else None


class _Reader:
    """Reads a workflow's jobs, each as a node (`shown`) or in the node of its template (`groups`, by name)."""

    def __init__(self, archive: Snapshot, workflow: int) -> None:
        self._archive, self._workflow = archive, workflow
        self._names, self._counts = archive.graphs.names(workflow), archive.graphs.counts(workflow)
        self._sizes: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        for one in self._counts:
            name = self._names[one.template]
            self._sizes[name] += one.n
            self._first[name] = min(one.first, self._first.get(name, one.first))
        self.jobs = self._sizes.total()
        self.shown: set[int] = set()
        self.groups: dict[str, str] = {}
        self.titles: dict[str, tuple[NodeKind, str]] = {}
        self._unshown_edges: list[tuple[Part, Part, int]] | None = None  # if they were read without shown jobs

    def show_all(self) -> None:
        """Draw each job by itself."""
        self.shown = set(self._archive.graphs.jobs(self._workflow, self._names, MARKS))

    def group(self, expand: Collection[str]) -> None:
        """Draw the jobs of each template as a group; if there are too many, fold the groups."""
        self.shown = set()
        names = sorted(self._sizes, key=self._first.__getitem__)
        number = {name: index for index, name in enumerate(names)}
        edges: Sequence[tuple[int, int]] = ()
        if len(names) > MARKS:
            self._unshown_edges = self._archive.graphs.edges(self._workflow, ())
            ends = ((self._names[one.template], self._names[other.template]) for one, other, _ in self._unshown_edges)
            edges = [(number[parent], number[child]) for parent, child in ends if parent != child]
        urgent = {self._names[one.template] for one in self._counts if one.state not in _CALM}
        folds = fold(names, edges, MARKS, expand, EXPANDED_MARKS, urgent)
        apart: set[str] = set()
        for name, key in zip(names, folds, strict=True):
            kind: NodeKind = "group" if name == key else "fold"
            self.groups[name] = f"{kind}-{key}"
            self.titles[f"{kind}-{key}"] = (kind, key)
            if kind == "group" and (self._sizes[name] == 1 or name in expand):
                apart.add(name)
        if apart:
            templates = [template for template, name in self._names.items() if name in apart]
            share = EXPANDED_MARKS // max(1, sum(self._sizes[name] > 1 for name in apart))
            self.shown = set(self._archive.graphs.jobs(self._workflow, templates, max(1, share)))

    def has_places(self) -> bool:
        """Return whether each job belongs to a node."""
        hidden = Counter(self._sizes)
        hidden.subtract(self._names[job.template] for job in self._archive.graphs.shown(self.shown))
        return all(name in self.groups for name, n in hidden.items() if n)

    def nodes(self) -> tuple[GraphNode, ...]:
        """Return the nodes with their states."""
        jobs = self._archive.graphs.shown(self.shown)
        states: dict[str, Counter[State]] = defaultdict(Counter)
        held: Counter[str] = Counter()
        order: dict[str, tuple[int, bool]] = {}
        for one in self._counts:
            name = self._names[one.template]
            if node := self.groups.get(name):
                states[node][one.state] += one.n
                held[node] += one.held
                order[node] = min((self._first[name], True), order.get(node, (self._first[name], True)))
        members = {f"job-{job.id}": job for job in jobs}
        for node, job in members.items():
            states[node][job.state] = 1
            held[node] = is_held = int(job.held is not None)
            order[node] = (job.id, False)
            if group := self.groups.get(self._names[job.template]):
                states[group][job.state] -= 1
                held[group] -= is_held
        apart = Counter(self._names[job.template] for job in jobs)
        blocked, subtasks = self._blocked(), self._subtasks()
        kind: NodeKind
        job_id: int | None
        found = []
        for node in sorted(order, key=order.__getitem__):
            counts = {state: n for state in State if (n := states[node][state])}
            if not counts:
                continue  # each job of the group is drawn by itself
            if node in members:
                kind, name, job_id = "job", members[node].name, members[node].id
                group = self._names[members[node].template]
            else:
                kind, name = self.titles[node]
                job_id, group = None, ""
            found.append(
                GraphNode(
                    node,
                    name,
                    kind,
                    counts,
                    held[node],
                    blocked.get(node, 0),
                    subtasks.get(node),
                    job_id,
                    group if self._sizes[group] > 1 else "",
                    apart[name] if kind == "group" else 0,
                )
            )
        return tuple(found)

    def edges(self) -> tuple[GraphEdge, ...]:
        """Return the edges between nodes, by the ids of nodes."""
        counts: Counter[tuple[str, str]] = Counter()
        if self.shown or self._unshown_edges is None:
            rows = self._archive.graphs.edges(self._workflow, self.shown)
        else:
            rows = self._unshown_edges
        for parent, child, n in rows:
            counts[self._node(parent), self._node(child)] += n
        return tuple(GraphEdge(*ends, n) for ends, n in sorted(counts.items()))

    def _blocked(self) -> Mapping[str, int]:
        present = {one.state for one in self._counts}
        if State.WAITING not in present or not present & ENDED_BADLY:
            return {}
        found: Counter[str] = Counter()
        for part, n in self._archive.graphs.blocked(self._workflow, self.shown).items():
            found[self._node(part)] += n
        return found

    def _subtasks(self) -> Mapping[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for part, (done, total) in self._archive.graphs.subtasks(self._workflow, self.shown).items():
            node = self._node(part)
            before = found.get(node, (0, 0))
            found[node] = (before[0] + done, before[1] + total)
        return found

    def _node(self, part: Part) -> str:
        return self.groups[self._names[part.template]] if part.job is None else f"job-{part.job}"
