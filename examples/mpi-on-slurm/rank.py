"""rank.py GRID FOLDER: one process of a parallel program. With MPI, the rank would come from MPI_Comm_rank."""

import json
import os
import sys
from pathlib import Path

rank, processes = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
heat, folder = json.loads(Path(sys.argv[1]).read_text())["heat"], Path(sys.argv[2])
rows = json.loads(Path(folder, f"{rank}.json").read_text())
if rows[-1] / heat > 12:
    sys.exit(f"rank {rank} of {processes}: overflow in row {rows[-1]}")
Path(folder, f"{rank}.out").write_text("".join(f"{row} {row / heat:.2f}\n" for row in rows))
