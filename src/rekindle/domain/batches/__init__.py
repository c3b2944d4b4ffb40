"""The law of batches: supervising within guards, canaries, flakiness."""
