"""Run a HyperQueue server with one worker of four cpus, in a directory, until standard input ends."""

from __future__ import annotations

import sys

from hyperqueue import LocalCluster
from hyperqueue.cluster import WorkerConfig

cluster = LocalCluster(sys.argv[1], WorkerConfig(cores=4))
print("started", flush=True)
sys.stdin.read()
cluster.stop()
