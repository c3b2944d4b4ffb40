"""Benchmarks of rekindle, compared with the limits of the machine. See `python -m benchmarks --help`."""
