"""`python -m rekindle.testing.simulator`: run a large workload on simulated nodes, and print what it cost."""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time

import msgspec

from rekindle.domain.batches.supervision import Guards
from rekindle.testing.simulator.cluster import NODE, Cluster, Nodes
from rekindle.testing.simulator.reruns import PlanCost, measure_plans, supervise_round
from rekindle.testing.simulator.workload import CLASSES, Workload


def main() -> int:
    """Simulate, and print a report."""
    options = _parser().parse_args()
    report: dict[str, object] = {"plans": _plans(options)} if options.plans else _simulate(options)
    report["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(report, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rekindle.testing.simulator", description=__doc__)
    add = parser.add_argument
    add("--jobs", type=int, default=100_000, help="jobs (default: %(default)s)")
    add("--nodes", type=int, default=1000, help="nodes of 8 cpus and 64 GiB (default: %(default)s)")
    add("--layers", type=int, default=10, help="layers of the graph (default: %(default)s)")
    add("--seconds", type=float, default=600.0, help="mean duration of an attempt (default: %(default)s)")
    add("--wide", type=float, default=0.01, help="share of jobs that fill a node (default: %(default)s)")
    add("--fail", type=float, default=0.01, help="share of attempts that fail by chance (default: %(default)s)")
    add("--oom", type=float, default=0.002, help="share of attempts without enough memory (default: %(default)s)")
    add("--broken", type=float, default=0.001, help="share of jobs that fail until mended (default: %(default)s)")
    add("--node-days", type=float, default=30.0, help="mean days between failures of a node; 0: none")
    add("--preemption-hours", type=float, default=0.0, help="mean hours between preemptions of a node; 0: none")
    add("--reruns", type=int, default=2, help="the most reruns of the supervision (default: %(default)s)")
    add("--seed", type=int, default=0, help="equal seeds give equal simulations")
    add("--plans", action="store_true", help="only measure plans of a rerun, for 10^4 jobs up to --jobs")
    add("--share", type=float, default=0.001, help="with --plans: share of the jobs that have failed")
    return parser


def _simulate(options: argparse.Namespace) -> dict[str, object]:
    workload = Workload(
        options.jobs,
        options.layers,
        wide=options.wide,
        broken=options.broken,
        fail=options.fail,
        oom=options.oom,
        seconds=options.seconds,
        seed=options.seed,
    )
    nodes = Nodes(options.nodes, options.node_days * 86_400.0, options.preemption_hours * 3600.0)
    began = time.process_time()
    cluster, guards = Cluster(workload, nodes), Guards(max_reruns=options.reruns)
    rounds: list[object] = []
    while True:
        cluster.run()
        decision, cost = supervise_round(cluster, len(rounds), guards)
        if cost is None:
            break
        rounds.append(msgspec.to_builtins(cost))
    took, measured = time.process_time() - began, cluster.measured
    capacity = measured.makespan * options.nodes * NODE.cpus
    names = ("narrow", "medium", "wide")
    return {
        "jobs": workload.total,
        "nodes": options.nodes,
        "attempts": measured.attempts,
        "ends": dict(measured.ends),
        "supervision": {"end": decision.end, "failed": decision.matching, "rounds": rounds},
        "makespan_seconds": round(measured.makespan),
        "used_percent": round(100 * measured.useful / capacity, 2) if capacity else None,
        "wasted_core_seconds": {cause: round(seconds) for cause, seconds in measured.wasted.items()},
        "waited_seconds": {
            name: {
                "mean": round(measured.waited[kind] / max(1, measured.claimed[kind])),
                "longest": round(measured.longest[kind]),
            }
            for kind, name in enumerate(names[: len(CLASSES)])
        },
        "decisions": measured.decisions,
        "decisions_per_second": round(measured.decisions / took) if took else None,
        "processor_seconds": round(took, 1),
    }


def _plans(options: argparse.Namespace) -> list[dict[str, object]]:
    sizes = [10**power for power in range(4, int(math.log10(options.jobs)) + 1)]
    costs = measure_plans(sizes, options.share, options.seed, Workload)
    found: list[dict[str, object]] = []
    before: PlanCost | None = None
    for cost in costs:
        row: dict[str, object] = msgspec.to_builtins(cost)
        if before is not None and before.seconds:
            ratio = cost.jobs / before.jobs
            row["exponent"] = round(math.log(cost.seconds / before.seconds) / math.log(ratio), 2)
        found.append(row)
        before = cost
    return found


if __name__ == "__main__":
    sys.exit(main())
