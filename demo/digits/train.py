"""Train one random forest on the digits, and write its accuracy on the test part."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy
from sklearn.ensemble import RandomForestClassifier


def main() -> None:
    """Write depth, trees and accuracy as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", required=True, help="how deep a tree may grow, or none: no limit")
    parser.add_argument("--trees", type=int, required=True)
    parser.add_argument("digits", type=Path)
    parser.add_argument("score", type=Path)
    args = parser.parse_args()

    digits = numpy.load(args.digits)
    depth = int(args.depth)
    forest = RandomForestClassifier(args.trees, max_depth=depth, random_state=0)
    forest.fit(digits["train_x"], digits["train_y"])
    accuracy = forest.score(digits["test_x"], digits["test_y"])

    args.score.parent.mkdir(parents=True, exist_ok=True)
    args.score.write_text(json.dumps({"depth": args.depth, "trees": args.trees, "accuracy": accuracy}) + "\n")
    print(f"depth {args.depth}, {args.trees} trees: {accuracy:.4f}")


if __name__ == "__main__":
    main()
