"""ReSim's commands for batches of tests."""
