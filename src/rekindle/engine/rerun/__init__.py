"""Plan, apply and undo reruns; cancel, hold and release jobs."""
