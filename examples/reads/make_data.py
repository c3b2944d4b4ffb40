"""Write reference.fasta and the reads of three samples. One file is cut off, as a broken download leaves it."""

import random
import sys
from pathlib import Path

rng = random.Random(4)
bases = "".join(rng.choice("ACGT") for _ in range(600))
Path("reference.fasta").write_text(">one\n" + "\n".join(bases[i : i + 60] for i in range(0, 600, 60)) + "\n")
Path("samples").mkdir(exist_ok=True)
for sample, count in {"blood": 30, "liver": 40, "skin": 20}.items():
    reads = []
    for number in range(count):
        start = rng.randrange(560)
        reads.append(f"@{sample}.{number}\n{bases[start : start + 40]}\n+\n{'I' * 35}#####\n")
    text = "".join(reads)
    Path("samples", f"{sample}.fastq").write_text(text if sample != "liver" or "whole" in sys.argv else text[:-30])
