"""THE BENCH: runs attempts, one at a time, and journals what happens before anyone is told."""
