"""`python -m rekindle.testing.simulation SEED`: play one seed, or many."""

from __future__ import annotations

import argparse
import sys

from rekindle.testing.simulation.scheduler import Contradiction, play

_TAIL = 60


def main() -> int:
    """Play the seeds. Return 1 if one contradicts an invariant, whose log is printed."""
    parser = argparse.ArgumentParser(prog="python -m rekindle.testing.simulation", description=__doc__)
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="play N seeds from there on (default: 1)")
    parser.add_argument("--log", action="store_true", help="print the whole event log")
    parser.add_argument("--go-on", action="store_true", help="play the other seeds after one that fails")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            log = play(seed)
        except Contradiction as found:
            failed += 1
            lines = found.log if options.log else found.log[-_TAIL:]
            print(*lines, found, sep="\n", flush=True)
            if not options.go_on:
                break
        else:
            if options.log:
                print(*log, sep="\n", flush=True)
    if options.seeds > 1:
        print(f"{failed} of {options.seeds} seeds contradict an invariant", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
