"""What rekindle costs, measured beside the limits of the machine it runs on. `python -m benchmarks --help`."""
