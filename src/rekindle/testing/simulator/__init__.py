"""A simulator of large clusters: discrete events, arrays instead of rows, and the real rules.

Each node is a runner that packs jobs with `domain.packing`; `domain.retry` decides about failures, `domain.batches`
about supervision, and `domain.rerun` plans the reruns. It shows where policies and data structures break, with numbers
of jobs and nodes that no test can start:

    python -m rekindle.testing.simulator --help
"""
