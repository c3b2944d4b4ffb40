"""Bundles: a workflow with its history, logs and files in one file, which another store imports."""
