"""Retention: prune the history, remove temporary outputs, compact the store."""
