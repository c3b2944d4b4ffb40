"""Read the state of a store: jobs, attempts, workflows, logs, failures."""
