"""Gather the scores of all trainings into one table: depth by number of trees."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def read_scores(folder: Path) -> dict[tuple[str, int], float]:
    """Return the accuracy by (depth, trees)."""
    found = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    return {(score["depth"], score["trees"]): score["accuracy"] for score in found}


def table(scores: dict[tuple[str, int], float]) -> str:
    """Return a Markdown table, limited depths first."""
    depths = sorted({depth for depth, _ in scores}, key=lambda depth: (depth == "none", depth.zfill(3)))
    trees = sorted({count for _, count in scores})
    lines = [
        "| depth | " + " | ".join(f"{count} trees" for count in trees) + " |",
        "|---|" + "---|" * len(trees),
    ]
    lines += [f"| {depth} | " + " | ".join(f"{scores[depth, count]:.4f}" for count in trees) + " |" for depth in depths]
    best, best_trees = max(scores, key=lambda key: scores[key])
    lines += ["", f"Best: depth {best}, {best_trees} trees; {len(scores)} trainings."]
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
