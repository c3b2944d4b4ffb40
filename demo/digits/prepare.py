"""Split the 1,797 handwritten digits of scikit-learn into a training part and a test part."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    """Write both parts to one .npz file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test-share", type=float, required=True)
    parser.add_argument("digits", type=Path)
    args = parser.parse_args()

    pixels, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels, test_size=args.test_share, random_state=0, stratify=labels
    )
    args.digits.parent.mkdir(parents=True, exist_ok=True)
    numpy.savez(args.digits, train_x=train_x, test_x=test_x, train_y=train_y, test_y=test_y)
    print(f"{len(train_y)} digits to learn from, {len(test_y)} to be tested on")


if __name__ == "__main__":
    main()
