"""Gather the scores of all trainings into one table: depth by number of trees, mean over seeds."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean


def read_scores(folder: Path) -> dict[tuple[str, int], list[float]]:
    """The accuracies by (depth, trees)."""
    scores: dict[tuple[str, int], list[float]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        score = json.loads(path.read_text())
        scores[score["depth"], score["trees"]].append(score["accuracy"])
    return scores


def table(scores: dict[tuple[str, int], list[float]]) -> str:
    """A Markdown table, limited depths first."""
    depths = sorted({depth for depth, _ in scores}, key=lambda depth: (depth == "none", depth.zfill(3)))
    trees = sorted({count for _, count in scores})
    lines = [
        "| depth | " + " | ".join(f"{count} trees" for count in trees) + " |",
        "|---|" + "---|" * len(trees),
    ]
    for depth in depths:
        cells = (f"{mean(scores[depth, count]):.4f}" for count in trees)
        lines.append(f"| {depth} | " + " | ".join(cells) + " |")
    best, best_trees = max(scores, key=lambda key: mean(scores[key]))
    lines += ["", f"Best: depth {best}, {best_trees} trees; {sum(map(len, scores.values()))} trainings."]
    return "\n".join(lines)


def main() -> None:
    """Write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path)
    parser.add_argument("table", type=Path)
    args = parser.parse_args()
    text = table(read_scores(args.scores))
    args.table.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
